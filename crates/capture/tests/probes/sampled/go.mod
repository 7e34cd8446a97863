module sampled

go 1.21
