package definition

// The codes of problems. They are stable: documented in docs/reference/errors.md, never renamed, never reused.
const (
	codeUnreadableFile     = "unreadable-file"
	codeNotUTF8            = "not-utf8"
	codeFileTooLarge       = "file-too-large"
	codeDocumentTooLarge   = "document-too-large"
	codeTooMany            = "too-many"
	codeSyntax             = "yaml-syntax"
	codeNestedProject      = "nested-project"
	codeUnknownKind        = "unknown-kind"
	codeUnknownKey         = "unknown-key"
	codeDuplicateKey       = "duplicate-key"
	codeMissingKey         = "missing-key"
	codeUselessKey         = "useless-key"
	codeWrongType          = "wrong-type"
	codeEmptyList          = "empty-list"
	codeBadName            = "bad-name"
	codeReservedName       = "reserved-name"
	codeDuplicateName      = "duplicate-name"
	codeBadWas             = "bad-was"
	codeDuplicateWas       = "duplicate-was"
	codeUnknownType        = "unknown-type"
	codeBadKeyType         = "bad-key-type"
	codeBadChoice          = "bad-choice"
	codeBadColumn          = "bad-column"
	codeBadPath            = "bad-path"
	codeBadDuration        = "bad-duration"
	codeBadTTL             = "bad-ttl"
	codeBadSchedule        = "bad-schedule"
	codeBadTimezone        = "bad-timezone"
	codeBadDefault         = "bad-default"
	codeUnknownEntity      = "unknown-entity"
	codeUnknownSource      = "unknown-source"
	codeUnknownView        = "unknown-view"
	codeUnknownFeature     = "unknown-feature"
	codeUnknownJoinKey     = "unknown-join-key"
	codeDuplicateJoinKey   = "duplicate-join-key"
	codeDuplicateOutput    = "duplicate-output"
	codeOutputIsKey        = "output-is-key"
	codeKeyTypeConflict    = "key-type-conflict"
	codeBadVersion         = "bad-version"
	codeBadURL             = "bad-url"
	codeBadAddress         = "bad-address"
	codeBadLimit           = "bad-limit"
	codeBadSetting         = "bad-setting"
	codeBadVariable        = "bad-variable"
	codeUnsetVariable      = "unset-variable"
	codeUnknownEnvironment = "unknown-environment"
	codeUnknownRoot        = "unknown-root"
)

// The codes of what planning finds in the files of sources.
const (
	CodeColumnMismatch = "column-mismatch"
	CodeUnreadableData = "unreadable-data"
	CodeNoData         = "no-data"
)

// Code is a class of problem in a project's files.
type Code struct {
	Name    string
	Meaning string // one line, for docs/reference/errors.md
}

// Codes lists every class, in the order of the documentation.
var Codes = []Code{
	{codeUnreadableFile, "A file or folder of the project cannot be read."},
	{codeNotUTF8, "A file is not UTF-8 text."},
	{codeFileTooLarge, "A file is larger than 4 MiB; split it."},
	{codeDocumentTooLarge, "A document is nested deeper than 32 levels, or has more than 200,000 nodes once its aliases are expanded; or the aliases of a file repeat more than 4 MiB."},
	{codeTooMany, "More than is read: 1,000 problems of a file, 64 join keys of an entity, entities of a view or entries of `keys` and `join`, 10,000 features of a view or paths of a source, 1,000,000 outputs of all services."},
	{codeSyntax, "A file is not YAML; nothing behind this place was read."},
	{codeNestedProject, "A `provender.yaml` lies below another one; a project holds no project."},
	{codeUnknownKind, "`kind` is not Entity, Source, FeatureView or FeatureService."},
	{codeUnknownKey, "A key that means nothing here. YAML merge keys (`<<`) are not supported."},
	{codeDuplicateKey, "One mapping has a key twice."},
	{codeMissingKey, "A key that must be there is not."},
	{codeUselessKey, "A key that has no effect beside the others."},
	{codeWrongType, "A value of the wrong YAML type: a list for a string, a number for a text, nothing at all."},
	{codeEmptyList, "A list that needs at least one element has none."},
	{codeBadName, "A name is not lower-case letters, digits and `_`, beginning with a letter, at most 63 characters."},
	{codeReservedName, "`event_time` and `created_time` are the names of a row's own times."},
	{codeDuplicateName, "Two things of one kind have one name; an inline source has the name of its view."},
	{codeBadWas, "`was` is the thing's own name, or the name of another that is still declared."},
	{codeDuplicateWas, "Two things of one kind, or two features of one view, were one."},
	{codeUnknownType, "No such type. There are bool, int32, int64, float32, float64, string, bytes, timestamp, and `list<T>` of each."},
	{codeBadKeyType, "A join key is int64 or string: floats do not compare reliably, and nothing else identifies an entity."},
	{codeBadChoice, "A value that is not one of the few allowed here."},
	{codeBadColumn, "A column name is empty, longer than 255 bytes, or has control characters."},
	{codeBadPath, "A Parquet path is empty or has control characters."},
	{codeBadDuration, "Not a duration. Write whole numbers with d, h, m, s, ms or us: `90s`, `15m`, `6h`, `30d`, `1h30m`."},
	{codeBadTTL, "A ttl is zero or negative. Leave it out for features that never expire."},
	{codeBadSchedule, "Not a cron schedule of five fields, or one that never fires."},
	{codeBadTimezone, "No such time zone in the IANA database."},
	{codeBadDefault, "A default that its feature's type cannot hold exactly."},
	{codeUnknownEntity, "A view names an entity that is not declared."},
	{codeUnknownSource, "A view names a source that is not declared."},
	{codeUnknownView, "A service names a view that is not declared."},
	{codeUnknownFeature, "A service names a feature that its view does not have."},
	{codeUnknownJoinKey, "`keys` or `join` names a join key that the view does not have."},
	{codeDuplicateJoinKey, "Two entities of one view have a join key of one name."},
	{codeDuplicateOutput, "Two outputs of one service have one name. Give one a `prefix` or an `as`."},
	{codeOutputIsKey, "An output of a service has the name of a request key."},
	{codeKeyTypeConflict, "One request key of a service is an int64 for one view and a string for another."},
	{codeBadVersion, "`version` of provender.yaml is not 1."},
	{codeBadURL, "A store's URL has no scheme, or one that is not known."},
	{codeBadAddress, "A server address is not `host:port`."},
	{codeBadLimit, "A limit is no size (`256MiB`, `2GiB`, a number of bytes) or no whole number, or out of the range it can have."},
	{codeBadSetting, "A key of `materialize`, `server` or `definitions` is not of the kind, or out of the range, that it can have."},
	{codeBadVariable, "A `${` that begins neither the name of an environment variable, `${NAME}`, nor that of a file, `${file:PATH}`."},
	{codeUnsetVariable, "An environment variable or file that provender.yaml uses is not set, not there, or empty."},
	{codeUnknownEnvironment, "The environment chosen is not in provender.yaml."},
	{codeUnknownRoot, "A Parquet path begins with a root that provender.yaml does not name."},
}

// FileCodes lists what planning finds in the files of sources, in the order of the documentation.
var FileCodes = []Code{
	{CodeColumnMismatch, "A file of the source lacks a column, or has it of a type that does not convert exactly."},
	{CodeUnreadableData, "A file of the source is no Parquet file, can't be opened, or lies outside of its root."},
	{CodeNoData, "A warning: the source has no file to check the columns against, or does not answer."},
}
