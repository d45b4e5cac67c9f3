{{/*
Resources of a study's stages, and whether the pods of the values hold them. Ray waits forever for a worker that no pod
has room for. synfundus/cluster/capacity.py applies the same rule to `synfundus cluster submit`; a test compares both.
*/}}

{{/*
One setting of a study: of the last override that gives it, else of the file, else the default. Arguments: file (the
study), settings (overrides), path (such as samples.resources.pool_size), default.
*/}}
{{- define "synfundus.setting" -}}
{{- $path := .path }}
{{- $found := include "synfundus.at" (dict "tree" .file "path" $path) }}
{{- range .settings }}
{{- $key := first (splitList "=" .) }}
{{- if or (eq $key $path) (hasPrefix (printf "%s." $key) $path) }}
{{- $value := fromYaml (printf "value: %s" (trimPrefix (printf "%s=" $key) .)) }}
{{- $found = include "synfundus.at" (dict "tree" $value "path" (printf "value%s" (trimPrefix $key $path))) | default $found }}
{{- end }}
{{- end }}
{{- $found | default (.default | toString) }}
{{- end }}

{{/* The value at a path of a tree; nothing if there is none. Arguments: tree, path. */}}
{{- define "synfundus.at" -}}
{{- $here := .tree }}
{{- range $key := splitList "." .path }}
{{- if kindIs "map" $here }}{{ $here = get $here $key }}{{ else }}{{ $here = "" }}{{ end }}
{{- end }}
{{- if not (kindIs "map" $here) }}{{ $here }}{{ end }}
{{- end }}

{{/* GPUs in ten-thousandths, the parts that Ray distinguishes, so that all numbers are whole. Argument: a number. */}}
{{- define "synfundus.shares" -}}
{{- round (mulf 10000 (float64 .)) 0 | int }}
{{- end }}

{{/*
Number of workers that pods hold at once. Arguments: pods (list of: number, cpus, gpus), cpus and shares (of a worker).
*/}}
{{- define "synfundus.room" -}}
{{- $ := . }}
{{- $room := 0 }}
{{- range .pods }}
{{- $here := int .cpus }}
{{- if $.shares }}
{{- $of_gpus := mul .gpus (div 10000 $.shares) }}
{{- $here = ternary (min $here $of_gpus) $of_gpus (gt (int $.cpus) 0) }}
{{- end }}
{{- $room = add $room (mul .number $here) }}
{{- end }}
{{- $room }}
{{- end }}

{{/*
Refuses a study whose stages need more workers at once than the pods hold. Arguments: root, where (key in the values),
file (the study), settings (overrides). files/resources.yaml gives the resources of each recipe; a test compares them.
*/}}
{{- define "synfundus.requireCapacity" -}}
{{- $ := . }}
{{- $study := dict "file" .file "settings" .settings }}
{{- $recipes := .root.Files.Get "files/resources.yaml" | fromYaml }}
{{- $recipe := include "synfundus.setting" (merge (dict "path" "recipe" "default" "none") $study) }}
{{- $prepared := include "synfundus.setting" (merge (dict "path" "data.prepared" "default" "") $study) }}
{{- range get $recipes $recipe | default $recipes.none }}
{{- if not (and $prepared (eq .place "data.prepare.resources")) }}
{{- include "synfundus.requireRoom" (merge (dict "stage" .) $) }}
{{- end }}
{{- end }}
{{- if include "synfundus.hasGrid" $study }}
{{- $workers := include "synfundus.setting" (merge (dict "path" "transfer.resources.num_workers" "default" 1) $study) | float64 }}
{{- $count := ternary "num_workers" "pool_size" (gt $workers 1.0) }}
{{- include "synfundus.requireRoom" (merge (dict "stage" (merge (dict "count_key" $count) $recipes.transfer)) $) }}
{{- end }}
{{- end }}

{{/* "true" if the study has a section `transfer`, in its file or in an override. Arguments: file, settings. */}}
{{- define "synfundus.hasGrid" -}}
{{- $found := get .file "transfer" | kindIs "map" }}
{{- range .settings }}
{{- if or (hasPrefix "transfer=" .) (hasPrefix "transfer." .) }}{{ $found = true }}{{ end }}
{{- end }}
{{- if $found }}true{{ end }}
{{- end }}

{{/*
Refuses a stage that needs more workers at once than the pods hold. Arguments: those of `synfundus.requireCapacity`, and
stage (a line of files/resources.yaml).
*/}}
{{- define "synfundus.requireRoom" -}}
{{- $ := . }}
{{- $study := dict "file" .file "settings" .settings }}
{{- with .stage }}
{{- $gpus := include "synfundus.setting" (merge (dict "path" (printf "%s.num_gpus" .place) "default" .num_gpus) $study) | float64 }}
{{- $workers := .num_workers | int }}
{{- if .count_key }}
{{- $workers = include "synfundus.setting" (merge (dict "path" (printf "%s.%s" .place .count_key) "default" .num_workers) $study) | float64 | int }}
{{- end }}
{{- /* A worker of a training takes a CPU only without a GPU. */}}
{{- $cpus := ternary 0 1 (and (eq .count_key "num_workers") (gt $gpus 0.0)) }}
{{- $pods := list }}
{{- $place := . }}
{{- range $name, $pool := $.root.Values.pools }}
{{- if or (eq $place.pool "") (eq $place.pool (toString $name)) }}
{{- $pods = append $pods (dict "number" (int $pool.maxWorkers) "cpus" (int $pool.logicalCpus) "gpus" (int $pool.gpus)) }}
{{- end }}
{{- end }}
{{- if not .pool }}
{{- $pods = append $pods (dict "number" 1 "cpus" (int $.root.Values.head.logicalCpus) "gpus" 0) }}
{{- end }}
{{- $room := include "synfundus.room" (dict "pods" $pods "cpus" $cpus "shares" (include "synfundus.shares" $gpus | int)) | int }}
{{- if lt $room $workers }}
{{- $needed := list }}
{{- if $cpus }}{{ $needed = append $needed "1 CPU" }}{{ end }}
{{- if gt $gpus 0.0 }}{{ $needed = append $needed (printf "%g GPU" $gpus) }}{{ end }}
{{- $where := ternary (printf "the pool %s" .pool) "head and pools together" (ne .pool "") }}
{{- $lower := without (list .count_key (ternary "num_gpus" "" (gt $gpus 0.0))) "" | join " or " }}
{{- fail (printf "%s: %s: needs %d x (%s) at once, and %s can hold %d; lower %s, or raise logicalCpus, gpus or maxWorkers in the chart's values" $.where .place $workers (join " and " $needed) $where $room $lower) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Refuses replicas for which the GPUs of the serving pool leave no room. Of each of the two models, `replicas` replicas
run; the larger share is placed first, and the smaller one fills the gaps. Arguments: root, file, settings.
*/}}
{{- define "synfundus.requireServingGpus" -}}
{{- $study := dict "file" .file "settings" .settings }}
{{- $recipes := .root.Files.Get "files/resources.yaml" | fromYaml }}
{{- $recipe := include "synfundus.setting" (merge (dict "path" "recipe" "default" "none") $study) }}
{{- $defaults := get $recipes (printf "%s/serving" $recipe) | default dict }}
{{- $shares := list }}
{{- range $kind := list "generation" "diagnosis" }}
{{- $gpus := include "synfundus.setting" (merge (dict "path" (printf "serving.%s.num_gpus" $kind) "default" (get $defaults $kind | default 0)) $study) }}
{{- $shares = append $shares (include "synfundus.shares" $gpus | int) }}
{{- end }}
{{- with .root.Values.serving }}
{{- $gpus := mul .pool.gpus .pool.maxWorkers }}
{{- $large := max (index $shares 0) (index $shares 1) }}
{{- $small := min (index $shares 0) (index $shares 1) }}
{{- if $large }}
{{- $perGpu := div 10000 $large }}
{{- $full := div .replicas $perGpu }}
{{- $rest := mod .replicas $perGpu }}
{{- $used := add $full (ternary 1 0 (gt $rest 0)) }}
{{- $room := int .replicas }}
{{- if $small }}
{{- $room = mul $full (div (sub 10000 (mul $perGpu $large)) $small) }}
{{- if $rest }}{{ $room = add $room (div (sub 10000 (mul $rest $large)) $small) }}{{ end }}
{{- $room = add $room (mul (sub $gpus $used) (div 10000 $small)) }}
{{- end }}
{{- if or (gt (int $used) (int $gpus)) (lt (int $room) (int .replicas)) }}
{{- fail (printf "serving.replicas: %v of each model, with %g and %g GPU (serving.generation.num_gpus and serving.diagnosis.num_gpus of the study), do not fit on the %d GPUs of serving.pool (gpus x maxWorkers); lower one of them, or raise gpus or maxWorkers" .replicas (divf (index $shares 0) 10000) (divf (index $shares 1) 10000) $gpus) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
