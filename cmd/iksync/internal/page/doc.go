// Package page is the daemon's web page: how all stands, live, and a few actions.
//
// What is served without being asked who wants it is the page itself, which holds no
// data. Its script asks for the data, and shows the token with each request in a header,
// so that no other site can make a browser act here: there are no cookies. At a loopback
// address or a unix socket, looking needs no token; acting and seeing pictures does. At
// other addresses everything does. Against DNS rebinding, a loopback address answers only
// to loopback names, and what changes something only to the page itself
// ([net/http.CrossOriginProtection]).
package page
