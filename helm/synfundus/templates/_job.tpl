{{/*
The specification of a study's RayJob. Takes: root, study (name), configMap (with study.yaml), overrides (a shell word
each, joined). The chart's own studies and `synfundus cluster submit` are filled into this one template.
*/}}
{{- define "synfundus.jobSpec" -}}
entrypoint: {{ printf "python -m synfundus_jobs.study run /etc/synfundus/study.yaml%s" .overrides | quote }}
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
        securityContext: {{- include "synfundus.containerSecurity" . | nindent 10 }}
        resources:
          requests: {cpu: 100m, memory: 512Mi}
          limits: {memory: 512Mi}
        env:
          - {name: HOME, value: /tmp}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
    volumes:
      - {name: tmp, emptyDir: {}}
{{- /* What a job has done lies in the store: its pods need no time to end, and its shells would not take the hint. */}}
{{- $selector := list (dict "name" "SYNFUNDUS_SAMPLING_POOL" "value" "sampling") }}
rayClusterSpec: {{- include "synfundus.cluster" (dict "root" .root "head" .root.Values.head "headCpus" .root.Values.head.logicalCpus "pools" .root.Values.pools "study" .configMap "env" $selector "graceSeconds" 2) | nindent 2 }}
{{- end }}

{{/*
Labels and annotations of a RayJob, by which the command finds it. Takes: root, study (name), settings (digest of the
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
Refuses a second job while one of the study, of another name, is not over: both would write into one folder of runs.
Takes: root, where (of the values), study (name), job (name). Only an installation sees what is in the cluster.
*/}}
{{- define "synfundus.requireNoOtherJob" -}}
{{- $ := . }}
{{- if .root.Capabilities.APIVersions.Has "ray.io/v1/RayJob" }}{{/* else prerequisites.yaml says so */}}
{{- range (lookup "ray.io/v1" "RayJob" .root.Release.Namespace "").items }}
{{- $isOver := has (dig "status" "jobDeploymentStatus" "" .) (list "Complete" "Failed" "ValidationFailed") }}
{{- if and (eq (dig "metadata" "labels" "synfundus.io/study" "" .) $.study) (ne .metadata.name $.job) (not $isOver) }}
{{- fail (printf "%s: job %s of study %s is not over; wait for it, or cancel it first" $.where .metadata.name $.study) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
