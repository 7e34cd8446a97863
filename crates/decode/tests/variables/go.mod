module variables

go 1.21
