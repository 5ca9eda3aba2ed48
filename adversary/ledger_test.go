package adversary

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// missing is a row whose feature does not exist yet: why, and the key that must therefore be refused as unknown.
type missing struct{ why, section, key string }

func notYet() map[string]missing {
	return map[string]missing{
		"A17": {"one TLS policy for all names, client certificates included; a server name with a dot is refused by crypto/tls", "", ""},
		"D11": {"h2spec runs in interop, beside bare net/http", "", ""},
		"D13": {"no HTTP/3, and Go's TLS server has no early data over TCP", "listen", "http3: true"},
		"K5":  {"a process cannot be given another clock from outside; audit, fleet and guard/rate are tested with one that is handed in", "", ""},
		"D20": {"needs TLS records written by hand; Go's own bound holds (toolchain 1.26.6)", "", ""},
	}
}

// elsewhere are rows whose cases are tests of their own, by the test's name.
func elsewhere() map[string][]string {
	return map[string][]string{
		"A16": {"TestManyHosts"}, "A22": {"TestSameRequest", "FuzzSameRequest"}, "A24": {"TestWhoMay"},
		"B1": {"TestNothingFoldsIntoAManagedField"}, "B10": {"TestTrailers"}, "B12": {"TestRedirectsAreNotFollowed"}, "B14": {"TestRedirectsAreNotFollowed"},
		"B17": {"TestNothingFoldsIntoAManagedField"}, "B18": {"TestPROXYHeaders"},
		"C13": {"TestEarlyAnswerAndALateBody"}, "C14": {"TestASecondRequestIsDecidedOnItsOwn"}, "C15": {"TestAnswersOfServers"},
		"C16": {"TestNoTunnelWithoutSwitching"}, "C20": {"TestNobodyGetsAnothersAnswer"}, "C23": {"TestDesyncCorpus"},
		"D1": {"TestFrameFloods"}, "D2": {"TestFrameFloods"}, "D3": {"TestFrameFloods"}, "D4": {"TestFrameFloods"}, "D5": {"TestHeaderListBomb"},
		"D7": {"TestManySlowBodiesOnOneConnection"}, "E23": {"TestAPIKeys"}, "E25": {"TestAPIKeys"}, "E35": {"TestAPIKeys"}, "D8": {"TestServerWithBadSettings"}, "D14": {"TestCertificateBoundTokens"}, "E33": {"TestCapturedRequest", "TestCertificateBoundTokens"}, "D15": {"TestHelloInPieces"}, "D16": {"TestNoTunnelAfterARefusedHandshake"}, "D19": {"TestNoResumptionAcrossAReload"},
		"G13": {"TestDeflateArrivesPlainOrNotAtAll"}, "G18": {"TestNoRequestEndsTheProcess"}, "G19": {"TestEvilExpressions"}, "G20": {"TestConditionsAreBounded"},
		"H1": {"TestConnectionFloods"}, "H2": {"TestSlowClients"}, "H3": {"TestSlowClients"}, "H4": {"TestConnectionFloods"}, "H5": {"TestConnectionFloods"},
		"H6": {"TestConnectionFloods"}, "H7": {"TestConnectionFloods"}, "H12": {"TestFilesRunOut"}, "H13": {"TestAnswersOfServers", "TestEndlessAnswer"}, "H15": {"TestRetriesStayWithinTheirBudget"},
		"I3": {"TestAdminIsOutOfReach"}, "I10": {"TestNothingOfARequestIsExpanded"},
		"I5": {"TestStateThatCannotBeTrusted"}, "I6": {"TestStateThatCannotBeTrusted"}, "I14": {"TestKilledWhileItChangesThings", "TestRotationKilled"},
		"K1": {"TestEventsStayLines"}, "K2": {"TestSecretsTurnUpNowhere"}, "K7": {"TestTheProcessKeepsItsKeys"}, "K8": {"TestStoreThatWasTamperedWith"},
		"K9": {"TestRotationKilled"}, "K10": {"TestSharesOfTheRootKey"},
	}
}

// rowsOfIssue are the rows that this suite must cover.
func rowsOfIssue() []string {
	var rows []string
	add := func(letter string, numbers ...int) {
		for _, n := range numbers {
			rows = append(rows, letter+strconv.Itoa(n))
		}
	}
	span := func(letter string, from, to int) {
		for n := from; n <= to; n++ {
			add(letter, n)
		}
	}
	span("A", 1, 28)
	span("B", 1, 18)
	span("C", 1, 25)
	span("D", 1, 5)
	span("D", 7, 16)
	add("D", 19, 20)
	span("E", 1, 9)
	add("E", 23, 25, 26, 27, 29, 30, 31, 32, 33, 35, 36)
	span("G", 1, 16)
	span("G", 18, 23)
	span("H", 1, 7)
	add("H", 12, 13, 15)
	add("I", 3, 5, 6, 10, 13, 14)
	add("K", 1, 2, 5)
	span("K", 7, 10)
	return rows
}

// Every row has a case, a test, or a reason. This list is what the closing note of the issue cites.
func TestEveryRowIsCovered(t *testing.T) {
	covered := map[string]int{}
	for _, list := range [][]attack{pathRows(), fieldRows(shared, t), framingRows(), http2Rows(), tokenRows(), proofRows(), bodyRows(), wafRows()} {
		for _, a := range list {
			covered[a.row]++
		}
	}
	for _, c := range refusedDocuments() {
		covered[c.row]++
	}
	tests := testsHere(t)
	for row, names := range elsewhere() {
		for _, name := range names {
			if !slices.Contains(tests, name) {
				t.Errorf("%s: there is no %s", row, name)
			}
			covered[row]++
		}
	}
	not := notYet()
	for _, row := range rowsOfIssue() {
		n, without := not[row]
		switch {
		case covered[row] == 0 && !without:
			t.Errorf("%s has no case and no reason", row)
		case covered[row] == 0:
			t.Logf("not yet: %s: %s", row, n.why)
		}
	}
	total := 0
	for _, n := range covered {
		total += n
	}
	t.Logf("%d rows, %d cases and tests", len(covered), total)
	if len(not) > 8 {
		t.Errorf("%d rows are not covered yet", len(not))
	}
}

// testsHere are the names of the tests and fuzz targets in this folder.
func testsHere(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				names = append(names, f.Name.Name)
			}
		}
	}
	if len(names) < 20 {
		t.Fatal(fmt.Sprint("only ", names))
	}
	return names
}
