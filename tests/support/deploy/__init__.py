"""What deployments are compared with: processes, and Kubernetes as far as manifests need it."""
