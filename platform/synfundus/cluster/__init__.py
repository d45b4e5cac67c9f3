"""Studies as RayJobs of a Kubernetes cluster, through the kubernetes client."""
