package client

// pageSize is how much of a list comes in one message.
const pageSize = 1000

// pages calls list for each page: with the token that the page before had for it, "" for the first, until there is none.
func pages(list func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := list(token)
		switch {
		case err != nil:
			return errorOf(err)
		case next == "":
			return nil
		case next == token:
			return malformed("a page that leads to itself")
		}
		token = next
	}
}
