"""Studies as RayJobs on a Kubernetes cluster, through the kubernetes client."""
