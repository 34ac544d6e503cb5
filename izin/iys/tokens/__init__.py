"""The access token of an account: when to renew it, where it is shared, how calls are signed."""
