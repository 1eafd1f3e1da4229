{{- define "glacier-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of most objects. Leaves room for suffixes such as -management. */}}
{{- define "glacier-gateway.fullname" -}}
{{- $name := include "glacier-gateway.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "glacier-gateway.serviceAccountName" -}}
{{- $default := ternary (include "glacier-gateway.fullname" .) "default" .Values.serviceAccount.create }}
{{- default $default .Values.serviceAccount.name }}
{{- end }}

{{- define "glacier-gateway.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the REST API speaks. */}}
{{- define "glacier-gateway.scheme" -}}
{{- ternary "https" "http" (ne .Values.tls.secret "") }}
{{- end }}

{{- define "glacier-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "glacier-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "glacier-gateway.labels" -}}
{{ include "glacier-gateway.selectorLabels" . }}
{{ include "glacier-gateway.originLabels" . }}
{{- end }}

{{- define "glacier-gateway.originLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What pods of this chart run as: the restricted Pod Security Standard, with a
read-only root. */}}
{{- define "glacier-gateway.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "glacier-gateway.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end }}

{{/* A table as TOML: values first, then the tables in it. JSON's strings, numbers,
booleans and lists are TOML's as well. Takes "table" and "path". */}}
{{- define "glacier-gateway.toml" -}}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "glacier-gateway.tomlKey" $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- if kindIs "map" $value }}
{{- $path := append $.path (include "glacier-gateway.tomlKey" $key) }}

[{{ join "." $path }}]
{{- include "glacier-gateway.toml" (dict "table" $value "path" $path) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "glacier-gateway.tomlKey" -}}
{{- regexMatch "^[A-Za-z0-9_-]+$" . | ternary . (toJson .) }}
{{- end }}

{{/* Which store the settings name: none, sqlite or postgres. Refuses many pods on
SQLite's one file. */}}
{{- define "glacier-gateway.store" -}}
{{- $kind := dig "store" "url" "none" .Values.settings | regexFind "^[a-z]+" | trimSuffix "ql" }}
{{- if and (eq $kind "sqlite") (or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1)) }}
{{- fail "settings.store.url names SQLite, which is for one pod: set replicaCount to 1 and leave autoscaling off, or use PostgreSQL" }}
{{- end }}
{{- $kind }}
{{- end }}

{{/* The folders of the two volumes. */}}
{{- define "glacier-gateway.storeFolder" -}}/var/lib/glacier-gateway{{- end }}
{{- define "glacier-gateway.checkpointFolder" -}}/var/lib/glacier-gateway-checkpoints{{- end }}

{{/* Where checkpoints are kept outside of the store: none, claim or emptyDir. */}}
{{- define "glacier-gateway.checkpoints" -}}
{{- eq (include "glacier-gateway.store" .) "none" | ternary "none" .Values.audit.checkpoints.volume }}
{{- end }}
