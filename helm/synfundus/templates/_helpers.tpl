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
Environment of the containers that compute. HOME is /tmp, because the root file system is read-only. The settings of
malloc are those of WORKERS_MALLOC in synfundus/distributed/session.py, which gives the reason; a test compares them.
*/}}
{{- define "synfundus.env" -}}
- {name: HOME, value: /tmp}
- {name: MALLOC_ARENA_MAX, value: "1"}
- {name: MALLOC_TRIM_THRESHOLD_, value: "1073741824"}
- {name: MALLOC_MMAP_THRESHOLD_, value: "33554432"}
{{- with .Values.s3.endpoint }}
- {name: SYNFUNDUS_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .Values.s3.region }}
- {name: SYNFUNDUS_S3_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .Values.s3.addressing }}
- {name: SYNFUNDUS_S3_ADDRESSING, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{/*
A pod of a Ray cluster. Arguments: root (the chart's context), container (name), settings (resources, gpus,
nodeSelector, tolerations), study (ConfigMap with study.yaml), env (further variables), keysSecret (optional), isHead,
digest (optional), graceSeconds (optional).
KubeRay grants the head's service account the autoscaler's rights. Only the autoscaler's container mounts its token.
*/}}
{{- define "synfundus.pod" -}}
metadata:
  labels: {{- include "synfundus.labels" .root | nindent 4 }}
  {{- with .digest }}
  annotations: {synfundus.io/digest: {{ . | quote }}}
  {{- end }}
spec:
  serviceAccountName: {{ .root.Release.Name }}-{{ ternary "head" "worker" (default false .isHead) }}
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
      securityContext: {{- include "synfundus.containerSecurity" . | nindent 8 }}
      resources: {{- include "synfundus.resources" .settings | nindent 8 }}
      env: {{- include "synfundus.env" .root | nindent 8 }}
        {{- with .env }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- with .root.Values.secret }}
      envFrom:
        - secretRef: {name: {{ . | quote }}}
      {{- end }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: study, mountPath: /etc/synfundus, readOnly: true}
        {{- if .keysSecret }}
        - {name: keys, mountPath: /etc/synfundus-keys, readOnly: true}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    - {name: study, configMap: {name: {{ .study | quote }}}}
    {{- with .keysSecret }}
    - {name: keys, secret: {secretName: {{ . | quote }}, items: [{key: keys, path: keys}]}}
    {{- end }}
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
A Ray cluster. Arguments: root, head (settings), headCpus, pools (name -> settings), study, keysSecret, env, digest (of
everything whose change must make a new cluster, although KubeRay does not compare it), graceSeconds (time that its pods
have to end; default: Kubernetes's 30).
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
authOptions: {mode: token}
headGroupSpec:
  rayStartParams:
    num-cpus: {{ .headCpus | quote }}
  template: {{- include "synfundus.pod" (dict "root" .root "container" "ray-head" "settings" .head "study" .study "keysSecret" .keysSecret "env" .env "isHead" true "digest" .digest "graceSeconds" .graceSeconds) | nindent 4 }}
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
    template: {{- include "synfundus.pod" (dict "root" $.root "container" "ray-worker" "settings" $pool "study" $.study "keysSecret" $.keysSecret "env" $.env "graceSeconds" $.graceSeconds) | nindent 6 }}
{{- end }}
{{- end }}
