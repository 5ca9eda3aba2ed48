package gate

// Finding is one thing that is still open, in the one form that check, assess, scan, review and posture share.
type Finding struct {
	ID        string `json:"id"`                  // stable dotted id of the class, such as "operation.any_caller"
	API       string `json:"api,omitempty"`       //
	Operation string `json:"operation,omitempty"` // key of the operation, "" for the whole API or gateway
	What      string `json:"what"`                // in one sentence
	Fix       string `json:"fix"`                 // the one line that closes it
	Place     string `json:"place,omitempty"`     // file:line:column or JSON pointer
	Risk      string `json:"accepted,omitempty"`  // the reason with which it was accepted
}
