package cli

import "github.com/spf13/cobra"

// commands lists every command.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.demoCommand(),
		a.initCommand(),
		a.importCommand(),
		a.validateCommand(),
		a.fmtCommand(),
		a.schemaCommand(),
		a.configCommand(),
		a.planCommand(),
		a.applyCommand(),
		a.listCommand(),
		a.showCommand(),
		a.historyCommand(),
		a.rollbackCommand(),
		a.materializeCommand(),
		a.runsCommand(),
		a.pauseCommand(),
		a.resumeCommand(),
		a.statusCommand(),
		a.verifyCommand(),
		a.pruneCommand(),
		a.getCommand(),
		a.explainCommand(),
		a.exportCommand(),
		a.registryCommand(),
		a.serveCommand(),
		a.healthCommand(),
		a.tokenCommand(),
		a.doctorCommand(),
		a.versionCommand(),
	}
}
