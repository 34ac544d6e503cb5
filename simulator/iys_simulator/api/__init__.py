"""İYS's endpoints, a module a resource."""
