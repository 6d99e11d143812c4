package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Page is where the web page is served.
type Page struct {
	Network   string // "tcp" or "unix"; "" is nowhere
	Addr      string // "127.0.0.1:7711", or the path of a socket
	TokenFile string // what is in it must be shown also to look; "" where looking is free
}

// shortestToken is how many characters a token has at least.
const shortestToken = 16

// PageAt reads an address of the page: "off", "HOST:PORT" or "unix:/PATH".
func PageAt(text string) (Page, error) {
	if text == "" || text == "off" {
		return Page{}, nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return Page{}, fmt.Errorf("%q is no socket: write unix: and its path from /", text)
		}
		return Page{Network: "unix", Addr: filepath.Clean(path)}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Page{}, fmt.Errorf("%q is no address: write off, 127.0.0.1:7711 or unix:/path/of/a/socket", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && port != "0" {
		return Page{}, fmt.Errorf("%q has no port from 1 to 65535", text)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return Page{}, fmt.Errorf("%q: write the host as an IP address of this machine, or localhost", text)
	}
	return Page{Network: "tcp", Addr: text}, nil
}

// Private reports whether the address is one that only this machine reaches.
func (p Page) Private() bool {
	host, _, err := net.SplitHostPort(p.Addr)
	if p.Network == "unix" || err == nil && host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (c *checker) page(doc *document) Page {
	p, err := PageAt(doc.HTTP)
	if err != nil {
		c.at("$.http", "%v", err)
		return Page{}
	}
	p.TokenFile = doc.HTTPTokenFile
	if p.Network != "" && p.TokenFile == "" && !p.Private() {
		c.at("$.http", "others than this machine reach that address: name a file with a token in http_token_file, or use 127.0.0.1 (and an SSH tunnel or a proxy that asks for a password)")
	}
	return p
}

// Token reads the token that the configuration names; without one it is kept in a file
// of its own, which is made when it is not there. warning is set when others can read it.
func (p Page) Token(own string) (token, warning string, err error) {
	file := p.TokenFile
	if file == "" {
		file = own
		if err := makeToken(own); err != nil {
			return "", "", fmt.Errorf("make a token for the page: %w", err)
		}
	}
	token, warning, err = readSecret(file, "the page's token")
	if err == nil && (len(token) < shortestToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })) {
		err = fmt.Errorf("%s holds no token: write at least %d letters and digits into it, such as those of openssl rand -hex 32", file, shortestToken)
	}
	return token, warning, err
}

// makeToken makes a file with a token; one that is there stays.
func makeToken(file string) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(file) // half a token is none
		}
	}()
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	_, err = f.WriteString(hex.EncodeToString(random) + "\n")
	return err
}
