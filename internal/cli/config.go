package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/provender-dev/provender/registry/definition"
)

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the settings, and where each comes from",
		Long: `Print every setting, what it is and where that comes from: the command line, an environment variable, provender.yaml, or the
default. The first of these that has it counts. Passwords and other secrets are left out.`,
		Example: "  provender config --env prod\n  PROVENDER_LIMITS_EXPORTS=8 provender config --set server.grpc=127.0.0.1:0 -o json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			values, err := definition.Values(a.dir, a.outside())
			if err != nil {
				return problems(err)
			}
			r := &configReport{Settings: make([]configSetting, len(values))}
			for i, v := range values {
				r.Settings[i] = configSetting{Key: v.Key, Value: v.Text, From: cmp.Or(v.From, "default")}
			}
			return a.show(r)
		},
	}
}

type configReport struct {
	Version  formatVersion   `json:"version"`
	Settings []configSetting `json:"settings"`
}

type configSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"` // without secrets
	From  string `json:"from"`  // "default", a position in the file, the name of a variable, "--set KEY"
}

func (r *configReport) text(p *printer) {
	rows := make([][]string, len(r.Settings))
	for i, s := range r.Settings {
		rows[i] = []string{s.Key, cmp.Or(s.Value, "-"), s.From}
	}
	p.table([]string{"KEY", "VALUE", "FROM"}, rows)
}
