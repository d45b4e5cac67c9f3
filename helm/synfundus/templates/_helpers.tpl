{{/* Labels, and the parts that all pods share. */}}

{{- define "synfundus.labels" -}}
app.kubernetes.io/name: synfundus
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "synfundus.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "synfundus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "synfundus.resources" -}}
{{- $resources := deepCopy .resources }}
{{- if .gpus }}
{{- $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" .gpus) ($resources.limits | default dict)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/*
Authentication of Ray. With this mode and without a token Ray refuses to start. The operator adds the token because of
`authOptions`; an operator that ignores `authOptions` would otherwise start Ray open to everybody.
*/}}
{{- define "synfundus.rayAuth" -}}
- {name: RAY_AUTH_MODE, value: token}
{{- end }}

{{/*
Environment of the containers that compute. Arguments: root, s3Secret (optional). HOME is /tmp, because the root file
system is read-only. The settings of malloc are those of WORKERS_MALLOC in synfundus/distributed/session.py, which gives
the reason; a test compares them.
*/}}
{{- define "synfundus.env" -}}
- {name: HOME, value: /tmp}
{{ include "synfundus.rayAuth" . }}
- {name: MALLOC_ARENA_MAX, value: "1"}
- {name: MALLOC_TRIM_THRESHOLD_, value: "1073741824"}
- {name: MALLOC_MMAP_THRESHOLD_, value: "33554432"}
{{- with .root.Values.s3 }}
{{- with .endpoint }}
- {name: SYNFUNDUS_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .region }}
- {name: SYNFUNDUS_S3_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .addressing }}
- {name: SYNFUNDUS_S3_ADDRESSING, value: {{ . | quote }}}
{{- end }}
{{- if or .ca.configMap .ca.secret }}
- {name: SYNFUNDUS_S3_CA_FILE, value: /etc/synfundus-ca/ca.crt}
{{- end }}
{{- end }}
{{- with .s3Secret }}
- {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_ACCESS_KEY_ID}}}
- {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_SECRET_ACCESS_KEY}}}
- {name: AWS_SESSION_TOKEN, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_SESSION_TOKEN, optional: true}}}
{{- end }}
{{- end }}

{{/* The volume with the certificate of the store's private authority, if the values name one. Argument: root. */}}
{{- define "synfundus.authority" -}}
{{- with .root.Values.s3.ca }}
{{- if and .configMap .secret }}
{{- fail "s3.ca: give configMap or secret, not both" }}
{{- end }}
{{- $items := printf "[{key: %q, path: ca.crt}]" .key }}
{{- if .configMap }}
- {name: authority, configMap: {name: {{ .configMap | quote }}, items: {{ $items }}}}
{{- else if .secret }}
- {name: authority, secret: {secretName: {{ .secret | quote }}, items: {{ $items }}}}
{{- end }}
{{- end }}
{{- end }}

{{/*
A pod of a Ray cluster. Arguments: root (the chart's context), container (name), settings (resources, gpus,
nodeSelector, tolerations), isHead, and the arguments of "synfundus.cluster".
KubeRay grants the head's service account the autoscaler's rights. Only the autoscaler's container mounts its token.
*/}}
{{- define "synfundus.pod" -}}
metadata:
  labels: {{- include "synfundus.labels" .root | nindent 4 }}
  {{- if and .isHead .digest }}
  annotations: {synfundus.io/digest: {{ .digest | quote }}}
  {{- end }}
spec:
  serviceAccountName: {{ .accounts }}-{{ ternary "head" "worker" .isHead }}
  automountServiceAccountToken: false
  {{- with .graceSeconds }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  securityContext: {{- include "synfundus.podSecurity" . | nindent 4 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- range . }}{{ printf "\n    - {name: %q}" . }}{{- end }}
  {{- end }}
  {{- with .settings.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .settings.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .container }}
      image: {{ .root.Values.image | quote }}
      imagePullPolicy: {{ .root.Values.imagePullPolicy }}
      terminationMessagePolicy: FallbackToLogsOnError  # `synfundus cluster status` shows the last line
      securityContext: {{- include "synfundus.containerSecurity" . | nindent 8 }}
      resources: {{- include "synfundus.resources" .settings | nindent 8 }}
      env: {{- include "synfundus.env" . | nindent 8 }}
        {{- with .env }}{{ toYaml . | nindent 8 }}{{ end }}
        {{- if and .isHead .patientKeySecret }}
        - {name: SYNFUNDUS_PATIENT_KEY_FILE, value: /etc/synfundus-patient/patient.key}
        {{- end }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: study, mountPath: /etc/synfundus, readOnly: true}
        {{- if .keysSecret }}
        - {name: keys, mountPath: /etc/synfundus-keys, readOnly: true}
        {{- end }}
        {{- if and .isHead .patientKeySecret }}
        - {name: patient-key, mountPath: /etc/synfundus-patient, readOnly: true}
        {{- end }}
        {{- if include "synfundus.authority" . }}
        - {name: authority, mountPath: /etc/synfundus-ca, readOnly: true}
        {{- end }}
      {{- if .drains }}
      lifecycle: {preStop: {exec: {command: [python, -m, synfundus_serve.edge.draining]}}}
      {{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    - {name: study, configMap: {name: {{ .study | quote }}}}
    {{- with .keysSecret }}
    - {name: keys, secret: {secretName: {{ . | quote }}, items: [{key: keys, path: keys}]}}
    {{- end }}
    {{- if and .isHead .patientKeySecret }}
    - name: patient-key  # on heads only: the driver, which runs there, hashes the ids of patients
      secret: {secretName: {{ .patientKeySecret | quote }}, defaultMode: 0440, items: [{key: SYNFUNDUS_PATIENT_KEY, path: patient.key}]}
    {{- end }}
    {{- include "synfundus.authority" . | nindent 4 }}
    {{- if .isHead }}
    - name: kubernetes-token  # the volume that Kubernetes would mount into every container
      projected:
        sources:
          - serviceAccountToken: {path: token}
          - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
          - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
    {{- end }}
{{- end }}

{{/*
A Ray cluster. Arguments: root, accounts (start of the names of its service accounts), head (settings), headCpus, pools
(name -> settings), study (ConfigMap with study.yaml), s3Secret (credentials of the store), tokenSecret (Secret with
Ray's access token; default: the operator makes one), keysSecret, patientKeySecret, env (further variables), digest (of
everything whose change must make a new cluster, although KubeRay does not compare it), graceSeconds (time that its pods
have to end), drains (they first wait for running requests). All but the first five are optional.
There is no `replicas`, because the autoscaler owns that field.
*/}}
{{- define "synfundus.cluster" -}}
{{- $ := . -}}
rayVersion: {{ index .root.Chart.Annotations "synfundus.io/ray-version" | quote }}
enableInTreeAutoscaling: true
autoscalerOptions:
  version: v2
  securityContext: {{- include "synfundus.containerSecurity" . | nindent 4 }}
  resources:
    requests: {cpu: 100m, memory: 512Mi}
    limits: {memory: 512Mi}
  volumeMounts:
    - {name: kubernetes-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
authOptions:
  mode: token
  {{- with .tokenSecret }}
  secretName: {{ . | quote }}
  {{- end }}
headGroupSpec:
  rayStartParams:
    num-cpus: {{ .headCpus | quote }}
  template: {{- include "synfundus.pod" (merge (dict "container" "ray-head" "settings" .head "isHead" true) .) | nindent 4 }}
workerGroupSpecs:
{{- range $name, $pool := .pools }}
{{- if gt (int $pool.minWorkers) (int $pool.maxWorkers) }}
{{- fail (printf "pool %s: minWorkers %v is more than maxWorkers %v" $name $pool.minWorkers $pool.maxWorkers) }}
{{- end }}
  - groupName: {{ $name | quote }}
    minReplicas: {{ $pool.minWorkers }}
    maxReplicas: {{ $pool.maxWorkers }}
    idleTimeoutSeconds: {{ $pool.idleSeconds }}
    {{- /* As the operator writes it. If it changed the list, it would own the list, and upgrades would conflict. */}}
    scaleStrategy: {}
    labels: {synfundus.io/pool: {{ $name | quote }}}
    rayStartParams:
      num-cpus: {{ $pool.logicalCpus | quote }}
      {{- if $pool.gpus }}
      num-gpus: {{ $pool.gpus | quote }}
      {{- end }}
    template: {{- include "synfundus.pod" (merge (dict "container" "ray-worker" "settings" $pool "isHead" false) $) | nindent 6 }}
{{- end }}
{{- end }}
