package strict

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	operator "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// types are those of the objects that the chart makes. Each is decoded strictly: what its type does not have is an error.
var types = map[string]func() any{
	"v1/ConfigMap":                            func() any { return &core.ConfigMap{} },
	"v1/Pod":                                  func() any { return &core.Pod{} },
	"v1/Service":                              func() any { return &core.Service{} },
	"v1/ServiceAccount":                       func() any { return &core.ServiceAccount{} },
	"apps/v1/Deployment":                      func() any { return &apps.Deployment{} },
	"apps/v1/StatefulSet":                     func() any { return &apps.StatefulSet{} },
	"autoscaling/v2/HorizontalPodAutoscaler":  func() any { return &autoscaling.HorizontalPodAutoscaler{} },
	"networking.k8s.io/v1/NetworkPolicy":      func() any { return &networking.NetworkPolicy{} },
	"policy/v1/PodDisruptionBudget":           func() any { return &policy.PodDisruptionBudget{} },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any { return &operator.ServiceMonitor{} },
	"monitoring.coreos.com/v1/PrometheusRule": func() any { return &operator.PrometheusRule{} },
}

// cluster holds objects as `kubectl apply --validate=strict` would have taken them.
type cluster struct {
	*testing.T
	objects map[string]any // by kind and name
	raw     map[string][]byte
}

func newCluster(t *testing.T, manifests string) *cluster {
	t.Helper()
	k := &cluster{T: t, objects: map[string]any{}, raw: map[string][]byte{}}
	for part := range strings.SplitSeq("\n"+manifests, "\n---\n") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		var head struct {
			APIVersion, Kind string
			Metadata         struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(part), &head); err != nil {
			t.Fatalf("%v\n%s", err, part)
		}
		typed := types[head.APIVersion+"/"+head.Kind]
		if typed == nil {
			t.Fatalf("no type for %s %s", head.APIVersion, head.Kind)
		}
		object := typed()
		if err := yaml.UnmarshalStrict([]byte(part), object); err != nil {
			t.Errorf("%s %s: %v", head.Kind, head.Metadata.Name, err)
		}
		id := head.Kind + "/" + head.Metadata.Name
		if _, twice := k.objects[id]; twice {
			t.Errorf("%s is made twice", id)
		}
		if name := head.Metadata.Name; name == "" || len(name) > 63 {
			t.Errorf("%s: a name of %d characters", id, len(name))
		}
		k.objects[id], k.raw[id] = object, []byte(part)
	}
	return k
}

// decode reads an object into a form of the caller's.
func (k *cluster) decode(kind, name string, into any) {
	k.Helper()
	raw, ok := k.raw[kind+"/"+name]
	if !ok {
		k.Fatalf("no %s %s among %q", kind, name, slices.Sorted(maps.Keys(k.raw)))
	}
	if err := yaml.Unmarshal(raw, into); err != nil {
		k.Fatal(err)
	}
}

// check finds what each object's type allows but the objects together do not.
func (k *cluster) check() {
	k.Helper()
	pods := 0
	for id, object := range k.objects {
		switch o := object.(type) {
		case *apps.Deployment:
			pods++
			k.pod(id, o.Spec.Template, nil)
			k.selects(id, o.Spec.Selector.MatchLabels, o.Spec.Template.Labels)
			if o.Spec.MinReadySeconds == 0 || o.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
				k.Errorf("%s: a rollout does not wait: %d s, %+v", id, o.Spec.MinReadySeconds, o.Spec.Strategy.RollingUpdate)
			}
		case *apps.StatefulSet:
			pods++
			k.pod(id, o.Spec.Template, o.Spec.VolumeClaimTemplates)
			k.selects(id, o.Spec.Selector.MatchLabels, o.Spec.Template.Labels)
			if _, ok := k.objects["Service/"+o.Spec.ServiceName]; !ok || *o.Spec.Replicas != 1 {
				k.Errorf("%s: service %s, %d replicas", id, o.Spec.ServiceName, *o.Spec.Replicas)
			}
		case *core.Pod:
			k.pod(id, core.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}, nil)
			for other, service := range k.objects {
				if s, ok := service.(*core.Service); ok && contains(o.Labels, s.Spec.Selector) {
					k.Errorf("%s: %s would send requests to it", id, other)
				}
			}
		case *autoscaling.HorizontalPodAutoscaler:
			target := o.Spec.ScaleTargetRef
			deployment, ok := k.objects[target.Kind+"/"+target.Name].(*apps.Deployment)
			if !ok || deployment.Spec.Replicas != nil {
				k.Errorf("%s: %+v is not there, or has replicas of its own", id, target)
			}
			if *o.Spec.MinReplicas > o.Spec.MaxReplicas {
				k.Errorf("%s: %d to %d", id, *o.Spec.MinReplicas, o.Spec.MaxReplicas)
			}
		case *core.Service:
			for _, p := range o.Spec.Ports {
				k.port(id, o.Spec.Selector, p.TargetPort.StrVal)
			}
		case *networking.NetworkPolicy:
			for _, rule := range o.Spec.Ingress {
				for _, p := range rule.Ports {
					k.port(id, o.Spec.PodSelector.MatchLabels, p.Port.StrVal)
				}
			}
		case *policy.PodDisruptionBudget:
			k.port(id, o.Spec.Selector.MatchLabels, "http")
		case *operator.ServiceMonitor:
			k.monitor(id, o)
		}
	}
	if pods != 1 {
		k.Errorf("%d workloads", pods)
	}
}

// contains reports whether labels are what a selector asks for.
func contains(labels, selector map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

func (k *cluster) selects(id string, selector, labels map[string]string) {
	k.Helper()
	if !contains(labels, selector) {
		k.Errorf("%s: %v does not select %v", id, selector, labels)
	}
}

// template is that of the one workload.
func (k *cluster) template() core.PodTemplateSpec {
	for _, object := range k.objects {
		switch o := object.(type) {
		case *apps.Deployment:
			return o.Spec.Template
		case *apps.StatefulSet:
			return o.Spec.Template
		}
	}
	return core.PodTemplateSpec{}
}

// port checks that a selector finds the servers, and that they have a port of the name.
func (k *cluster) port(id string, selector map[string]string, port string) {
	k.Helper()
	template := k.template()
	k.selects(id, selector, template.Labels)
	for _, p := range template.Spec.Containers[0].Ports {
		if p.Name == port {
			return
		}
	}
	k.Errorf("%s: servers have no port %s", id, port)
}

// monitor checks that exactly one service is scraped, once per server.
func (k *cluster) monitor(id string, m *operator.ServiceMonitor) {
	k.Helper()
	found := 0
	for _, object := range k.objects {
		if s, ok := object.(*core.Service); ok && contains(s.Labels, m.Spec.Selector.MatchLabels) {
			found++
			if !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == m.Spec.Endpoints[0].Port }) {
				k.Errorf("%s: %s has no port %s", id, s.Name, m.Spec.Endpoints[0].Port)
			}
		}
	}
	if found != 1 || len(m.Spec.Endpoints) != 1 {
		k.Errorf("%s: %d services, %d endpoints", id, found, len(m.Spec.Endpoints))
	}
	// What rules ask for, whatever the release is called.
	if r := m.Spec.Endpoints[0].RelabelConfigs; len(r) != 1 || r[0].TargetLabel != "job" || *r[0].Replacement != "provender" {
		k.Errorf("%s: the job has another name: %+v", id, r)
	}
}

// pod checks what runs: as nobody, on a root that can't be written, with every volume that it names, and time to stop.
func (k *cluster) pod(id string, template core.PodTemplateSpec, claims []core.PersistentVolumeClaim) {
	k.Helper()
	spec := template.Spec
	if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks {
		k.Errorf("%s: has an account's token, or variables of services", id)
	}
	security := spec.SecurityContext
	if !*security.RunAsNonRoot || *security.RunAsUser != 65532 || *security.RunAsGroup != 65532 || security.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		k.Errorf("%s: runs as %+v", id, security)
	}
	if spec.ServiceAccountName != "" {
		if _, ok := k.objects["ServiceAccount/"+spec.ServiceAccountName]; !ok {
			k.Errorf("%s: no account %s", id, spec.ServiceAccountName)
		}
	}
	volumes := map[string]bool{}
	for _, claim := range claims {
		volumes[claim.Name] = false
	}
	for _, v := range spec.Volumes {
		if _, twice := volumes[v.Name]; twice {
			k.Errorf("%s: volume %s twice", id, v.Name)
		}
		volumes[v.Name] = false
		if v.ConfigMap != nil {
			if _, ok := k.objects["ConfigMap/"+v.ConfigMap.Name]; !ok {
				k.Errorf("%s: no ConfigMap %s", id, v.ConfigMap.Name)
			}
		}
	}
	for _, c := range spec.Containers {
		s := c.SecurityContext
		if !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
			k.Errorf("%s: container %s: %+v", id, c.Name, s)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			k.Errorf("%s: container %s: resources %+v", id, c.Name, c.Resources)
		}
		if strings.HasSuffix(c.Image, ":latest") || !strings.ContainsAny(c.Image[strings.LastIndex(c.Image, "/")+1:], ":@") {
			k.Errorf("%s: image %s", id, c.Image)
		}
		places := map[string]bool{}
		for _, m := range c.VolumeMounts {
			if _, ok := volumes[m.Name]; !ok || places[m.MountPath] {
				k.Errorf("%s: container %s mounts %s at %s: no such volume, or a place taken", id, c.Name, m.Name, m.MountPath)
			}
			volumes[m.Name], places[m.MountPath] = true, true
		}
		names := map[string]bool{}
		for _, e := range c.Env {
			if names[e.Name] {
				k.Errorf("%s: container %s has %s twice", id, c.Name, e.Name)
			}
			names[e.Name] = true
		}
		if c.Name != "provender" {
			continue
		}
		for what, probe := range map[string]*core.Probe{"/startedz": c.StartupProbe, "/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != what || probe.HTTPGet.Port.StrVal != "http" {
				k.Errorf("%s: probe of %s: %+v", id, what, probe)
			}
		}
		k.stops(id, &spec)
		k.memory(id, c)
	}
	for name, used := range volumes {
		if !used {
			k.Errorf("%s: volume %s is mounted nowhere", id, name)
		}
	}
}

// stops checks that a server has time to stop: until balancers have learned of it, which takes longer than a probe may, then 25 s
// for calls under way, and 10 s to tell others.
func (k *cluster) stops(id string, spec *core.PodSpec) {
	k.Helper()
	var config struct {
		Server struct {
			DrainDelay string `json:"drain_delay"`
		}
	}
	for _, v := range spec.Volumes {
		if v.Name != "config" {
			continue
		}
		if m, ok := k.objects["ConfigMap/"+v.ConfigMap.Name].(*core.ConfigMap); ok {
			if err := yaml.Unmarshal([]byte(m.Data["provender.yaml"]), &config); err != nil {
				k.Error(err)
			}
		}
	}
	delay, err := time.ParseDuration(config.Server.DrainDelay)
	grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
	if err != nil || delay < 3*time.Second || grace < delay+(25+10)*time.Second {
		k.Errorf("%s: %v to stop, of which balancers have %q (%v)", id, grace, config.Server.DrainDelay, err)
	}
}

// memory checks GOMEMLIMIT: nine tenths of the limit.
func (k *cluster) memory(id string, c core.Container) {
	k.Helper()
	for _, e := range c.Env {
		if e.Name == "GOMEMLIMIT" {
			var n int64
			var unit string
			_, _ = fmt.Sscanf(e.Value, "%d%s", &n, &unit)
			bytes := n * map[string]int64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]
			limit := c.Resources.Limits.Memory().Value()
			if share := float64(bytes) / float64(limit); share < 0.89 || share > 0.91 {
				k.Errorf("%s: GOMEMLIMIT=%s of %d bytes", id, e.Value, limit)
			}
			return
		}
	}
	k.Errorf("%s: no GOMEMLIMIT", id)
}
