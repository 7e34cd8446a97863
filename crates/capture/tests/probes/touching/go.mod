module touching

go 1.21
