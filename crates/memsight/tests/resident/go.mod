module resident

go 1.21
