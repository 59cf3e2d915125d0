package engine

// The words of generated names: how a crew may be, and people who built, dived, sailed, measured and computed.
var (
	adjectives = []string{
		"able", "agile", "amiable", "ample", "artful", "attentive", "blithe", "bold", "brave", "breezy", "brisk", "buoyant",
		"calm", "candid", "careful", "cheerful", "clever", "composed", "cordial", "crisp", "curious", "daring", "deft",
		"diligent", "eager", "earnest", "easygoing", "even", "exact", "fair", "faithful", "fearless", "fleet", "frank",
		"gallant", "generous", "gentle", "glad", "graceful", "hardy", "hearty", "helpful", "honest", "humble", "jaunty",
		"jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "mindful", "modest", "neat", "nimble",
		"patient", "plucky", "polite", "prudent", "punctual", "quick", "quiet", "ready", "sage", "serene", "sincere",
		"steady", "sturdy", "sunny", "swift", "tactful", "tidy", "tranquil", "trusty", "upbeat", "vivid", "warm", "watchful",
		"willing", "wise", "witty", "zesty",
	}
	surnames = []string{
		"amundsen", "archimedes", "baret", "barton", "beaufort", "beebe", "bell", "bessel", "bly", "boyle", "brahe", "braille",
		"brunel", "carson", "celsius", "cochran", "coulomb", "cousteau", "cunitz", "daguerre", "darby", "davis", "dijkstra",
		"drebbel", "eads", "earle", "eiffel", "ellet", "euler", "fawcett", "fleming", "foucault", "fowler", "fresnel",
		"frontinus", "gauss", "germain", "gilbreth", "hadley", "halley", "harrison", "henson", "heron", "herschel", "hopper",
		"huygens", "jemison", "kepler", "knuth", "lagrange", "lamarr", "laplace", "leavitt", "lovelace", "magellan",
		"maury", "maxwell", "mcnaught", "meitner", "mercator", "mitchell", "nansen", "napier", "nightingale", "noether",
		"ortelius", "pascal", "peary", "piccard", "picotte", "pytheas", "rennie", "rickover", "roebling", "ross", "sacajawea",
		"shackleton", "shannon", "siebe", "smeaton", "somerville", "stevenson", "stevin", "strauss", "telford", "tharp",
		"torricelli", "trieste", "triger", "vauban", "vitruvius", "volta", "walsh", "watt", "wegener", "wren", "zheng",
	}
)
