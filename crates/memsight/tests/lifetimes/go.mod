module lifetimes

go 1.21
