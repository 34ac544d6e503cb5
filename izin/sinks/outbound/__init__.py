"""Flow from the ledger to İYS: submit, poll, settle, query."""
