package cgroups

// OOMCount is how many processes the OOM killer has killed, as the content of a group's OOMFile has it. What is not one, or is
// damaged, counts none.
func OOMCount(content []byte) uint64 { return parseKeys(content)["oom_kill"] }
