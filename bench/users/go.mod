module users

go 1.21
