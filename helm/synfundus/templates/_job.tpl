{{/*
The specification of a study's RayJob. Arguments: root, study (name), configMap (with study.yaml), overrides (shell
words, joined). Studies in the values and `synfundus cluster submit` use this one template.
*/}}
{{- define "synfundus.jobSpec" -}}
entrypoint: {{ printf "python -m synfundus_jobs study run /etc/synfundus/study.yaml%s" .overrides | quote }}
submissionMode: K8sJobMode
backoffLimit: {{ .root.Values.jobs.retries }}
shutdownAfterJobFinishes: true
ttlSecondsAfterFinished: {{ .root.Values.jobs.keepSeconds }}
submitterPodTemplate:
  metadata:
    labels: {{- include "synfundus.labels" .root | nindent 6 }}
  spec:
    restartPolicy: Never
    serviceAccountName: {{ .root.Release.Name }}-worker
    automountServiceAccountToken: false
    securityContext: {{- include "synfundus.podSecurity" . | nindent 6 }}
    {{- with .root.Values.imagePullSecrets }}
    imagePullSecrets: {{- range . }}{{ printf "\n      - {name: %q}" . }}{{- end }}
    {{- end }}
    containers:
      - name: submitter
        image: {{ .root.Values.image | quote }}
        imagePullPolicy: {{ .root.Values.imagePullPolicy }}
        terminationMessagePolicy: FallbackToLogsOnError  # `synfundus cluster status` shows the last line
        securityContext: {{- include "synfundus.containerSecurity" . | nindent 10 }}
        resources:
          requests: {cpu: 100m, memory: 512Mi}
          limits: {memory: 512Mi}
        env:
          - {name: HOME, value: /tmp}
          {{- include "synfundus.rayAuth" . | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
    volumes:
      - {name: tmp, emptyDir: {}}
{{- /* Pods get 2 s to end: results are in the store already, and the shells in the pods ignore SIGTERM. */}}
{{- $selector := list (dict "name" "SYNFUNDUS_SAMPLING_POOL" "value" "sampling") }}
{{- $cluster := dict "root" .root "accounts" .root.Release.Name "head" .root.Values.head "headCpus" .root.Values.head.logicalCpus "pools" .root.Values.pools }}
{{- $secrets := dict "s3Secret" .root.Values.s3.secret "tokenSecret" (include "synfundus.tokenSecret" .root) "patientKeySecret" .root.Values.patientKeySecret }}
rayClusterSpec: {{- include "synfundus.cluster" (merge $cluster $secrets (dict "study" .configMap "env" $selector "graceSeconds" 2)) | nindent 2 }}
{{- end }}

{{/* Name of the Secret with the access token of the jobs' Ray clusters. */}}
{{- define "synfundus.tokenSecret" -}}
{{ .Release.Name }}-ray-token
{{- end }}

{{/*
Labels and annotations of a RayJob, by which the command line finds it. Arguments: root, study (name), settings (digest of the
study's file and overrides), storage (the study's root).
*/}}
{{- define "synfundus.jobMetadata" -}}
labels: {{- include "synfundus.labels" .root | nindent 2 }}
  synfundus.io/study: {{ .study | quote }}
  synfundus.io/settings: {{ .settings | quote }}
annotations:
  synfundus.io/root: {{ .storage | quote }}
{{- end }}

{{/*
Refuses a job while another job of the same study is not over: both would write to the same folder below runs/.
Arguments: root, where (key in the values), study (name), job (name). `helm template` does not look into the cluster.
*/}}
{{- define "synfundus.requireNoOtherJob" -}}
{{- $ := . }}
{{- if .root.Capabilities.APIVersions.Has "ray.io/v1/RayJob" }}{{/* otherwise prerequisites.yaml fails */}}
{{- range (lookup "ray.io/v1" "RayJob" .root.Release.Namespace "").items }}
{{- $isOver := has (dig "status" "jobDeploymentStatus" "" .) (list "Complete" "Failed" "ValidationFailed") }}
{{- if and (eq (dig "metadata" "labels" "synfundus.io/study" "" .) $.study) (ne .metadata.name $.job) (not $isOver) }}
{{- fail (printf "%s: job %s of study %s is not over; wait for it, or cancel it first" $.where .metadata.name $.study) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
