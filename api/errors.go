package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"hordenode/internal/horde"
)

// internalText is all that a client learns of a failure of ours.
const internalText = "Internal Server Error"

// An httpError is an answer without a return code: routing, limits, malformed bodies.
type httpError struct {
	status int
	msg    string
	fields map[string]string // validation errors by path; nil: none
}

func (e *httpError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.msg) }

// plain is an answer with a message only.
func plain(status int, msg string) error { return &httpError{status: status, msg: msg} }

// invalid is a validation error of one field or argument.
func invalid(field, text string) error { return invalidAll(map[string]string{field: text}) }

// invalidAll is a validation error of several fields, by their dotted paths.
func invalidAll(fields map[string]string) error {
	return &httpError{status: http.StatusBadRequest, msg: "Input payload validation failed", fields: fields}
}

// A statusError gives a refusal another status than the table.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// withStatus overrides the status of a refusal, for the codes that have two
// (spec/rcs.md section 5). Errors that are not refusals keep theirs.
func withStatus(status int, err error) error { return &statusError{status, err} }

// message is the body of every answer that is not a success.
type message struct {
	Errors  map[string]string `json:"errors,omitempty"`
	Message string            `json:"message"`
	RC      horde.RC          `json:"rc,omitempty"`
}

// fail answers with an error. It is the only place where one becomes HTTP.
func (s *Server) fail(w *responder, r *http.Request, err error) {
	if w.wrote {
		s.log.WarnContext(r.Context(), "answer broke off", "route", r.Pattern, "err", err)
		return
	}
	status, body := http.StatusInternalServerError, message{Message: internalText}
	var (
		refusal  *horde.Error
		rc       horde.RC
		override *statusError
		known    *httpError
	)
	switch {
	case errors.As(err, &known):
		status, body = known.status, message{Message: known.msg, Errors: known.fields}
	case errors.As(err, &refusal):
		status, body = statusOf(refusal.RC), message{Message: refusal.Msg, RC: refusal.RC}
	case errors.As(err, &rc):
		status, body = statusOf(rc), message{Message: string(rc), RC: rc}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		status, body = http.StatusServiceUnavailable, message{Message: "The answer took too long. Please try again.", RC: horde.RCUnavailable}
	}
	if body.RC != "" && errors.As(err, &override) {
		status = override.status
	}
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusInternalServerError:
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "err", err)
	}
	if refusal != nil && refusal.Err != nil {
		s.log.InfoContext(r.Context(), "request refused", "route", r.Pattern, "rc", refusal.RC, "err", refusal.Err)
	}
	w.mask = nil
	if err := encode(w, status, body); err != nil {
		s.log.DebugContext(r.Context(), "client went away", "route", r.Pattern, "err", err)
	}
}

// statusOf is the HTTP status of a return code (spec/rcs.md section 2). What is not listed
// is a 400.
func statusOf(rc horde.RC) int {
	switch rc {
	case horde.RCUnavailable:
		return http.StatusServiceUnavailable
	case horde.RCLocked:
		return http.StatusLocked
	case horde.RCTooManyPrompts:
		return http.StatusTooManyRequests
	case horde.RCInvalidAPIKey:
		return http.StatusUnauthorized
	case horde.RCUserNotFound, horde.RCTeamNotFound, horde.RCWorkerNotFound, horde.RCWorkermessageNotFound,
		horde.RCFilterNotFound, horde.RCStyleNotFound, horde.RCCollectionNotFound, horde.RCInvalidJobID,
		horde.RCRequestNotFound, horde.RCImageStyleNotFound, horde.RCTextStyleNotFound, horde.RCStyleExampleNotFound:
		return http.StatusNotFound
	case horde.RCForbidden, horde.RCNotAdmin, horde.RCNotModerator, horde.RCNotOwner, horde.RCNotAllowedAwards,
		horde.RCWrongCredentials, horde.RCAnonForbidden, horde.RCAnonForbiddenWorker, horde.RCAnonForbiddenUserMod,
		horde.RCAnonForbiddenUser, horde.RCUntrustedTeamCreation, horde.RCUntrustedUnsafeIP, horde.RCNonServiceForbidden,
		horde.RCDeletedUser, horde.RCBannedClientAgent, horde.RCCannotDeleteMod, horde.RCNotUserOrMod,
		horde.RCCannotWipeActiveUser, horde.RCMessagesOnlyOwnWorkers, horde.RCStylesRequiresCustomizer,
		horde.RCStylesAnonForbidden, horde.RCSharedKeyEmpty, horde.RCSharedKeyExpired, horde.RCSharedKeyAssignedStyles,
		horde.RCSharedKeyInsufficientKudos, horde.RCKudosUpfront, horde.RCWorkerFlaggedMaintenance,
		horde.RCWorkerMaintenance, horde.RCWorkerInviteOnly, horde.RCTooManyWorkers, horde.RCTooManyWorkersTrusted,
		horde.RCTooManySameIPs, horde.RCTimeoutIP, horde.RCTooManyNewIPs, horde.RCUnsafeIP, horde.RCBetaAnonForbidden:
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}
