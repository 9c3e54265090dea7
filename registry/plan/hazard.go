package plan

// Hazard is what a change does to others than whoever made it, or a sign that it is not what was meant.
type Hazard struct {
	Code    string `json:"code"`    // one of Codes
	Message string `json:"message"` // what happens, in one line
	// Breaking: callers of a named service that there was get errors, or other values under a name that they know.
	Breaking bool     `json:"breaking,omitempty"`
	Services []string `json:"services,omitempty"` // whose callers it touches, in name order
}

// The codes of hazards. They are stable: documented in docs/reference/plan.md, never renamed, never reused.
const (
	ServiceRemoved        = "service-removed"
	ServiceRenamed        = "service-renamed"
	OutputRemoved         = "output-removed"
	OutputTypeChanged     = "output-type-changed"
	OutputRebound         = "output-rebound"
	OutputOrderChanged    = "output-order-changed"
	RequestKeyAdded       = "request-key-added"
	RequestKeyRemoved     = "request-key-removed"
	RequestKeyTypeChanged = "request-key-type-changed"
	LockedService         = "locked-service"
	ServiceWaits          = "service-waits"
	ViewRemoved           = "view-removed"
	ViewRenamed           = "view-renamed"
	ViewOffline           = "view-offline"
	FeatureRemoved        = "feature-removed"
	FeatureRenamed        = "feature-renamed"
	FeatureTypeChanged    = "feature-type-changed"
	JoinKeysChanged       = "join-keys-changed"
	DefaultChanged        = "default-changed"
	TTLChanged            = "ttl-changed"
	NewGeneration         = "new-generation"
	ViewUnused            = "view-unused"
	EntityUnused          = "entity-unused"
	SourceUnused          = "source-unused"
)

// Code is a class of hazard.
type Code struct {
	Name     string
	Breaking string // when it is: "yes", "no", "if a service uses it", "refused"
	Meaning  string
	Advice   string
}

const (
	always  = "yes"
	never   = "no"
	ifUsed  = "if a service uses it"
	refused = "refused"
)

// Codes lists every class, in the order of the documentation.
var Codes = []Code{
	{
		ServiceRemoved, always, "A service is deleted: its callers get NOT_FOUND.",
		"Delete it when no caller is left.",
	},
	{
		ServiceRenamed, always, "A service has another name: who asks by the old one gets NOT_FOUND.",
		"Declare the new service beside the old one, and delete that when no caller is left.",
	},
	{
		OutputRemoved, always, "A service loses an output, or has it under another name.",
		"Keep the name with `as`, or declare a new service.",
	},
	{
		OutputTypeChanged, always, "An output of a service has another type. Where it is narrower, values that do not fit are errors of their run.",
		"Declare a feature and a service of new names.",
	},
	{
		OutputRebound, always, "An output of the same name reads another feature, or the same one by another key: other values, and no error.",
		"Give the output a name of its own.",
	},
	{
		OutputOrderChanged, never, "The outputs that stay are in another order. Answers name their columns; a model that counts them gets the wrong ones.",
		"Add outputs at the end; read them by name; lock services whose callers count.",
	},
	{
		RequestKeyAdded, always, "Callers must send a key that they do not send yet.",
		"Declare a new service.",
	},
	{
		RequestKeyRemoved, always, "A key that callers send is refused as unknown.",
		"Declare a new service.",
	},
	{
		RequestKeyTypeChanged, always, "A request key has another type than callers send.",
		"Declare a new service.",
	},
	{
		LockedService, refused,
		"A service with `locked: true` would change shape: its name, outputs, their order, types, defaults and bindings, or its request keys. " +
			"Nothing allows it.",
		"Declare a new service; or take `locked` away, apply that, and plan again.",
	},
	{
		ServiceWaits, never,
		"A service needs what the rows that serve do not have: it gets FAILED_PRECONDITION from apply until a run has filled the view.",
		"Run `provender materialize` right after apply; or give the view the feature, materialize, and change the service after that.",
	},
	{
		ViewRemoved, ifUsed, "A view is deleted, and with it what is online of it.",
		"Move the services that read it to another view first.",
	},
	{
		ViewRenamed, never, "A view has another name: lookups of `view:feature` by the old one get NOT_FOUND. What is stored stays.",
		"Change those who name features by themselves; services have the new name already.",
	},
	{
		ViewOffline, ifUsed, "A view is no longer online: lookups of it get FAILED_PRECONDITION.",
		"Take it out of the services that are looked up.",
	},
	{
		FeatureRemoved, ifUsed, "A view loses a feature.",
		"Take it out of the services first, or rename it with `was`.",
	},
	{
		FeatureRenamed, never, "A feature has another name: lookups of `view:feature` by the old one are refused. What is stored stays.",
		"Keep the names of services' outputs with `as`.",
	},
	{
		FeatureTypeChanged, ifUsed, "A feature has another type. Where it is narrower, values that do not fit are errors of their run.",
		"Declare a feature of a new name.",
	},
	{
		JoinKeysChanged, ifUsed, "A view is looked up by other keys, or by keys of other types.",
		"Declare an entity and a view of new names.",
	},
	{
		DefaultChanged, never,
		"Where there is no row, services answer another value, from apply on. Callers get no error, and the status still tells that it is the default: " +
			"so it does not count as breaking, though a model may have learned the old one.",
		"Lock services whose models depend on it: that refuses the change.",
	},
	{
		TTLChanged, never, "A shorter ttl makes older rows EXPIRED or NOT_FOUND from apply on; a longer one brings them back with the next run, which fills the view anew.",
		"Nothing, where that is meant. Training sets of earlier revisions had the other ttl.",
	},
	{
		NewGeneration, never, "The next run of the view reads all its files and fills a new generation; the one that is online serves until then.",
		"Mind what the run costs; the plan has an estimate where it can read the files.",
	},
	{
		ViewUnused, never, "No service reads a view, which is new or has lost its last one.",
		"Nothing, where lookups name its features by themselves; else add it to a service, or delete it.",
	},
	{
		EntityUnused, never, "No view uses an entity, which is new or has lost its last one.",
		"Delete it where it is a leftover.",
	},
	{
		SourceUnused, never, "No view reads a source, which is new or has lost its last one.",
		"Delete it where it is a leftover.",
	},
}
