"""The sweep of a brand's keys, and the counts of İYS beside ours."""
