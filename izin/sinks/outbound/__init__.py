"""From the ledger to İYS: submit, poll, settle, query."""
