package emulator

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// expression is the common form of a searchQuery and a checks parameter:
//
//	or         = and { "OR" and }
//	and        = unit { "AND" unit }
//	unit       = "(" or ")" | "NOT" unit | comparison
//	comparison = field ( operator value | [ "NOT" ] "EXISTS" )
//	operator   = "=" | ":" | "<" | "<=" | ">" | ">=" | "IN" | "HAS" | "NOT" ( "=" | "IN" )
//	value      = text | word | "[" value { "," value } "]"
//
// Fields are words or quoted texts.
type expression interface{ isExpression() }

type (
	allOf      []expression
	anyOf      []expression
	notOf      struct{ expression }
	comparison struct {
		field  string
		op     string // "=", ":", "<", "<=", ">", ">=", "in", "has", "exists"
		values []string
		not    bool
	}
)

func (allOf) isExpression()      {}
func (anyOf) isExpression()      {}
func (comparison) isExpression() {}

// token is a piece of an expression. Its kind is 'w' for a word, 's' for a
// quoted text, 'o' for an operator or bracket, 0 for the end.
type token struct {
	kind rune
	text string
}

var errUnterminated = errors.New("a quoted text does not end")

// maxNested bounds parentheses, since the parser recurses.
const maxNested = 100

type parser struct {
	rest  string
	next  token
	err   error
	depth int
}

// parseExpression reads text, which must be one expression.
func parseExpression(text string) (expression, error) {
	p := &parser{rest: text}
	p.advance()
	e := p.or()
	if p.err == nil && p.next.kind != 0 {
		p.fail("%q is one too many", p.next.text)
	}
	return e, p.err
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.next = token{} // ends every loop
	p.rest = ""
}

// advance moves to the next token.
func (p *parser) advance() {
	p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace)
	if p.rest == "" {
		p.next = token{}
		return
	}
	switch c := p.rest[0]; {
	case c == '"' || c == '\'':
		text, rest, err := unquote(p.rest)
		if err != nil {
			p.fail("%w", err)
			return
		}
		p.next, p.rest = token{'s', text}, rest
	case strings.HasPrefix(p.rest, "<="), strings.HasPrefix(p.rest, ">="):
		p.next, p.rest = token{'o', p.rest[:2]}, p.rest[2:]
	case strings.IndexByte("=:<>()[],", c) >= 0:
		p.next, p.rest = token{'o', p.rest[:1]}, p.rest[1:]
	default:
		end := strings.IndexFunc(p.rest, func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune(`=:<>()[],"'`, r)
		})
		if end < 0 {
			end = len(p.rest)
		}
		p.next, p.rest = token{'w', p.rest[:end]}, p.rest[end:]
	}
}

// unquote reads a quoted text, in which a backslash takes the character after
// it as it is, but for the escapes of Go and JSON.
func unquote(s string) (text, rest string, err error) {
	var b strings.Builder
	quote := rune(s[0])
	for i := 1; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case r == quote:
			return b.String(), s[i:], nil
		case r == '\\' && i < len(s):
			r, size = utf8.DecodeRuneInString(s[i:])
			i += size
			switch r {
			case 'n':
				r = '\n'
			case 't':
				r = '\t'
			case 'r':
				r = '\r'
			}
		}
		b.WriteRune(r)
	}
	return "", "", errUnterminated
}

// keyword says whether the next token is one of the grammar's words, whose
// case does not matter.
func (p *parser) keyword(word string) bool {
	return p.next.kind == 'w' && strings.EqualFold(p.next.text, word)
}

func (p *parser) operator(text string) bool { return p.next.kind == 'o' && p.next.text == text }

func (p *parser) or() expression {
	any := anyOf{p.and()}
	for p.keyword("OR") {
		p.advance()
		any = append(any, p.and())
	}
	if len(any) == 1 {
		return any[0]
	}
	return any
}

func (p *parser) and() expression {
	all := allOf{p.unit()}
	for p.keyword("AND") {
		p.advance()
		all = append(all, p.unit())
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

func (p *parser) unit() expression {
	if p.depth++; p.depth > maxNested {
		p.fail("too deeply nested")
	}
	defer func() { p.depth-- }()
	switch {
	case p.operator("("):
		p.advance()
		e := p.or()
		p.expect(")")
		return e
	case p.keyword("NOT"):
		p.advance()
		return notOf{p.unit()}
	}
	return p.comparison()
}

func (p *parser) expect(text string) {
	if !p.operator(text) {
		p.fail("%q is missing", text)
		return
	}
	p.advance()
}

func (p *parser) comparison() expression {
	c := comparison{field: p.next.text}
	if p.next.kind != 'w' && p.next.kind != 's' {
		p.fail("the name of a field is missing")
		return c
	}
	p.advance()
	if p.keyword("NOT") {
		c.not = true
		p.advance()
	}
	switch {
	case p.keyword("IN"):
		c.op = "in"
		p.advance()
		c.values = p.list()
		return c
	case p.keyword("EXISTS"):
		c.op = "exists"
		p.advance()
		return c
	case p.keyword("HAS"):
		c.op = "has"
	case p.next.kind == 'o' && strings.Contains("= : < > <= >=", p.next.text):
		c.op = p.next.text
	default:
		p.fail("the operator after %q is missing", c.field)
		return c
	}
	if c.not && c.op != "=" {
		p.fail("NOT does not go with %q", c.op)
	}
	p.advance()
	c.values = []string{p.value()}
	return c
}

func (p *parser) list() []string {
	p.expect("[")
	values := []string{p.value()}
	for p.operator(",") {
		p.advance()
		values = append(values, p.value())
	}
	p.expect("]")
	return values
}

func (p *parser) value() string {
	v := p.next
	if v.kind != 's' && v.kind != 'w' {
		p.fail("a value is missing")
		return ""
	}
	p.advance()
	return v.text
}
