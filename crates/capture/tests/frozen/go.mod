module frozen

go 1.21
