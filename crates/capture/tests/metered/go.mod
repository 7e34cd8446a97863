module metered

go 1.21
