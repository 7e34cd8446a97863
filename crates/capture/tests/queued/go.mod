module queued

go 1.21
