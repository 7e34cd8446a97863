module preempted

go 1.27
