{{- define "provender.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of every object; 40 characters leave room for what is added. */}}
{{- define "provender.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "provender.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "provender.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "provender.selector" -}}
app.kubernetes.io/name: {{ include "provender.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "provender.labels" -}}
{{ include "provender.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "provender.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "provender.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "provender.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "provender.scheme" -}}
{{- if .Values.server.tls.existingSecret }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{- /* GOMEMLIMIT: nine tenths of the limit, which is in Gi, Mi, G, M or bytes. Nothing without a limit. */}}
{{- define "provender.goMemLimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString }}
{{- if .Values.goMemLimit }}
{{- .Values.goMemLimit }}
{{- else if hasSuffix "Gi" $limit }}
{{- printf "%dMiB" (mulf (trimSuffix "Gi" $limit | float64) 921.6 | int64) }}
{{- else if hasSuffix "Mi" $limit }}
{{- printf "%dKiB" (mulf (trimSuffix "Mi" $limit | float64) 921.6 | int64) }}
{{- else if hasSuffix "G" $limit }}
{{- printf "%d" (mulf (trimSuffix "G" $limit | float64) 900000000 | int64) }}
{{- else if hasSuffix "M" $limit }}
{{- printf "%d" (mulf (trimSuffix "M" $limit | float64) 900000 | int64) }}
{{- else if regexMatch "^[0-9]+$" $limit }}
{{- printf "%d" (mulf ($limit | float64) 0.9 | int64) }}
{{- else if $limit }}
{{- fail (printf "resources.limits.memory is %q: want Mi, Gi, M, G or bytes, or set goMemLimit" $limit) }}
{{- end }}
{{- end }}

{{- /* provender.yaml: the values' config, and what the chart knows. Secrets stay in the environment. */}}
{{- define "provender.config" -}}
{{- $config := deepCopy .Values.config }}
{{- range list "registry" "online" "server" }}
{{- if hasKey $config . }}
{{- fail (printf "config.%s is the chart's to set: see mode, stores and server" .) }}
{{- end }}
{{- end }}
{{- $server := dict "grpc" "0.0.0.0:6565" "http" "0.0.0.0:6566" "auth" .Values.server.auth "insecure" .Values.server.insecure }}
{{- $_ := set $server "drain_delay" (printf "%ds" (int .Values.drainSeconds)) }}
{{- if .Values.server.admin.expose }}{{ $_ := set $server "admin" "0.0.0.0:6567" }}{{ end }}
{{- if .Values.server.tls.existingSecret }}
{{- $tls := dict "cert" "/tls/tls.crt" "key" "/tls/tls.key" }}
{{- if .Values.server.tls.clientCA }}{{ $_ := set $tls "client_ca" "/tls/ca.crt" }}{{ end }}
{{- $_ := set $server "tls" $tls }}
{{- end }}
{{- with .Values.server.certificates }}{{ $_ := set $server "certificates" . }}{{ end }}
{{- with .Values.server.slowRequest }}{{ $_ := set $server "slow_request" . }}{{ end }}
{{- $_ := set $config "server" $server }}
{{- if eq .Values.mode "shared" }}
{{- $_ := set $config "registry" "${PROVENDER_REGISTRY}" }}
{{- $_ := set $config "online" "${PROVENDER_ONLINE}" }}
{{- else }}
{{- $_ := set $config "registry" "sqlite://.provender/registry.db" }}
{{- $_ := set $config "online" "embedded://.provender/online" }}
{{- end }}
{{- if .Values.definitions }}
{{- if dig "definitions" "from" "" $config }}
{{- fail "definitions and config.definitions.from: one source of definitions is enough" }}
{{- end }}
{{- $_ := set $config "definitions" (merge (dict "from" "/definitions") (default dict $config.definitions)) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- /* What must hold before anything is made. */}}
{{- define "provender.check" -}}
{{- if not .Values.server.insecure }}
{{- if not .Values.server.tls.existingSecret }}
{{- fail "server.tls.existingSecret names the secret with the server's certificate. Where the network keeps others out, set server.insecure to true" }}
{{- end }}
{{- if not .Values.server.auth }}
{{- fail "server.auth is off: servers would refuse to start. Where the network keeps others out, set server.insecure to true" }}
{{- end }}
{{- end }}
{{- if eq .Values.mode "shared" }}
{{- if not .Values.stores.existingSecret }}
{{- fail "stores.existingSecret names the secret with the URLs of Postgres and Redis. For one server with a disk, set mode to embedded" }}
{{- end }}
{{- else if .Values.autoscaling.enabled }}
{{- fail "autoscaling needs mode shared: an embedded store is one server's" }}
{{- end }}
{{- if and .Values.server.tls.clientCA (not .Values.server.tls.existingSecret) }}
{{- fail "server.tls.clientCA needs server.tls.existingSecret" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.server.auth (not .Values.metrics.serviceMonitor.tokenSecret.name) }}
{{- fail "metrics.serviceMonitor.tokenSecret: with server.auth a scrape takes a token of the role read-offline" }}
{{- end }}
{{- end }}

{{- define "provender.pod" -}}
{{- include "provender.check" . }}
metadata:
  labels:
    {{- include "provender.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "provender.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "provender.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false # its variables begin with PROVENDER_, as settings do
  terminationGracePeriodSeconds: {{ add .Values.drainSeconds 40 }} # then calls under way have 25 s, and what is told at the end 10 s
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: provender
      image: {{ include "provender.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        {{- range .Values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      env:
        {{- if eq .Values.mode "shared" }}
        - name: PROVENDER_REGISTRY
          valueFrom: {secretKeyRef: {name: {{ .Values.stores.existingSecret }}, key: {{ .Values.stores.registryKey }}}}
        - name: PROVENDER_ONLINE
          valueFrom: {secretKeyRef: {name: {{ .Values.stores.existingSecret }}, key: {{ .Values.stores.onlineKey }}}}
        {{- end }}
        {{- with include "provender.goMemLimit" . }}
        - name: GOMEMLIMIT
          value: {{ . | quote }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: grpc, containerPort: 6565}
        - {name: http, containerPort: 6566}
        {{- if .Values.server.admin.expose }}
        - {name: admin, containerPort: 6567}
        {{- end }}
      # Ten minutes to reach the stores for the first time; then a server that lives stays, whatever its stores do.
      startupProbe:
        httpGet: {path: /startedz, port: http, scheme: {{ include "provender.scheme" . }}}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 300
      livenessProbe:
        httpGet: {path: /livez, port: http, scheme: {{ include "provender.scheme" . }}}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http, scheme: {{ include "provender.scheme" . }}}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: config, mountPath: /project/provender.yaml, subPath: provender.yaml, readOnly: true}
        - {name: state, mountPath: /project/.provender}
        - {name: tmp, mountPath: /tmp}
        {{- if .Values.definitions }}
        - {name: definitions, mountPath: /definitions, readOnly: true}
        {{- end }}
        {{- if .Values.server.tls.existingSecret }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "provender.fullname" . }}}
    - name: tmp
      emptyDir: {}
    {{- if eq .Values.mode "shared" }}
    - name: state # addresses and a socket
      emptyDir: {}
    {{- end }}
    {{- if .Values.definitions }}
    - name: definitions
      configMap: {name: {{ include "provender.fullname" . }}-definitions}
    {{- end }}
    {{- with .Values.server.tls.existingSecret }}
    - name: tls
      secret: {secretName: {{ . }}}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "provender.selector" $ | nindent 10 }}
    {{- end }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end }}
