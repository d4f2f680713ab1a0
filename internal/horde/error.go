package horde

import "fmt"

// An RC is an AI Horde return code. Its spelling never changes. It is an error so that
// errors.Is(err, horde.RCWorkerNotFound) reads well.
type RC string

func (rc RC) Error() string { return string(rc) }

// An Error is a refusal. Msg is for the client; the cause, if any, for our log only.
type Error struct {
	RC  RC
	Msg string
	Err error
}

// Refuse returns a refusal with a message for the client.
func Refuse(rc RC, format string, args ...any) *Error {
	return &Error{RC: rc, Msg: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.RC, e.Msg, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.RC, e.Msg)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, RC...) true for an Error of that code.
func (e *Error) Is(target error) bool { return target == error(e.RC) }

// RCUnavailable is ours: something that exists cannot be reached for the moment, so the
// client should ask again. It becomes 503 with Retry-After, never a 404.
const RCUnavailable RC = "Unavailable"

// The return codes of the AI Horde API (spec/rcs.md; the ones with a dot or a blank are
// spelled so on the wire). Which status each becomes is api/errors.go's business.
const (
	RCBadRequest                    RC = "BadRequest"
	RCForbidden                     RC = "Forbidden"
	RCLocked                        RC = "Locked"
	RCNulByteInPayload              RC = "NulByteInPayload"
	RCInvalidAPIKey                 RC = "InvalidAPIKey"
	RCNotAdmin                      RC = "NotAdmin"
	RCNotModerator                  RC = "NotModerator"
	RCNotOwner                      RC = "NotOwner"
	RCNotAllowedAwards              RC = "NotAllowedAwards"
	RCWrongCredentials              RC = "WrongCredentials"
	RCAnonForbidden                 RC = "AnonForbidden"
	RCAnonForbiddenWorker           RC = "AnonForbiddenWorker"
	RCAnonForbiddenUserMod          RC = "AnonForbiddenUserMod"
	RCAnonForbiddenUser             RC = "AnonForbiddenUser"
	RCUntrustedTeamCreation         RC = "UntrustedTeamCreation"
	RCUntrustedUnsafeIP             RC = "UntrustedUnsafeIP"
	RCNonServiceForbidden           RC = "NonServiceForbidden"
	RCOnlyServiceAccountProxy       RC = "OnlyServiceAccountProxy"
	RCRequiresTrust                 RC = "RequiresTrust"
	RCDeletedUser                   RC = "DeletedUser"
	RCBannedClientAgent             RC = "BannedClientAgent"
	RCUserNotFound                  RC = "UserNotFound"
	RCNoUserModSelected             RC = "NoUserModSelected"
	RCNoWorkerModSelected           RC = "NoWorkerModSelected"
	RCNoTeamModSelected             RC = "NoTeamModSelected"
	RCNoHordeModSelected            RC = "NoHordeModSelected"
	RCNoFilterModSelected           RC = "NoFilterModSelected"
	RCNoSharedKeyModSelected        RC = "NoSharedKeyModSelected"
	RCUserNotDeleted                RC = "UserNotDeleted"
	RCCannotDeleteMod               RC = "CannotDeleteMod"
	RCNotUserOrMod                  RC = "NotUserOrMod"
	RCCannotWipeActiveUser          RC = "CannotWipeActiveUser"
	RCProfaneUserName               RC = "ProfaneUserName"
	RCProfaneUserContact            RC = "ProfaneUserContact"
	RCProfaneAdminComment           RC = "ProfaneAdminComment"
	RCTooLongUserName               RC = "TooLongUserName"
	RCProfaneWorkerName             RC = "ProfaneWorkerName"
	RCProfaneBridgeAgent            RC = "ProfaneBridgeAgent"
	RCProfaneWorkerInfo             RC = "ProfaneWorkerInfo"
	RCTooLongWorkerName             RC = "TooLongWorkerName"
	RCWorkerNameAlreadyExists       RC = "WorkerNameAlreadyExists"
	RCPolymorphicNameConflict       RC = "PolymorphicNameConflict"
	RCProfaneTeamName               RC = "ProfaneTeamName"
	RCProfaneTeamInfo               RC = "ProfaneTeamInfo"
	RCTeamNameAlreadyExists         RC = "TeamNameAlreadyExists"
	RCTeamNotFound                  RC = "TeamNotFound"
	RCWorkerNotFound                RC = "WorkerNotFound"
	RCWorkermessageNotFound         RC = "WorkermessageNotFound"
	RCMessagesOnlyOwnWorkers        RC = "MessagesOnlyOwnWorkers"
	RCFilterNotFound                RC = "FilterNotFound"
	RCStyleNotFound                 RC = "StyleNotFound"
	RCCollectionNotFound            RC = "CollectionNotFound"
	RCImageStyleNotFound            RC = "Image styleNotFound"
	RCTextStyleNotFound             RC = "Text styleNotFound"
	RCStyleExampleNotFound          RC = "Style exampleNotFound"
	RCStylesRequiresCustomizer      RC = "StylesRequiresCustomizer"
	RCStylesAnonForbidden           RC = "StylesAnonForbidden"
	RCSharedKeyEmpty                RC = "SharedKeyEmpty"
	RCSharedKeyExpired              RC = "SharedKeyExpired"
	RCSharedKeyAssignedStyles       RC = "SharedKeyAssignedStyles"
	RCSharedKeyInsufficientKudos    RC = "SharedKeyInsufficientKudos"
	RCKudosTransferFromAnon         RC = "KudosTransferFromAnon"
	RCInvalidTargetUsername         RC = "InvalidTargetUsername"
	RCKudosTransferToAnon           RC = "KudosTransferToAnon"
	RCKudosTransferToSelf           RC = "KudosTransferToSelf"
	RCTooFastKudosTransfers         RC = "TooFastKudosTransfers"
	RCFaultWhenKudosSending         RC = "FaultWhenKudosSending"
	RCSourceAccountFlagged          RC = "SourceAccountFlagged"
	RCEducationCannotSendKudos      RC = "EducationCannotSendKudos"
	RCFaultWhenKudosReceiving       RC = "FaultWhenKudosReceiving"
	RCTargetAccountFlagged          RC = "TargetAccountFlagged"
	RCNegativeKudosTransfer         RC = "NegativeKudosTransfer"
	RCInvalidKudosTransferAmount    RC = "InvalidKudosTransferAmount"
	RCIdempotencyKeyConflict        RC = "IdempotencyKeyConflict"
	RCKudosTransferNotEnough        RC = "KudosTransferNotEnough"
	RCInvalidAwardUsername          RC = "InvalidAwardUsername"
	RCKudosAwardToAnon              RC = "KudosAwardToAnon"
	RCKudosUpfront                  RC = "KudosUpfront"
	RCInvalidPriorityUsername       RC = "InvalidPriorityUsername"
	RCWorkerFlaggedMaintenance      RC = "WorkerFlaggedMaintenance"
	RCWorkerMaintenance             RC = "WorkerMaintenance"
	RCWorkerInviteOnly              RC = "WorkerInviteOnly"
	RCTooManyWorkers                RC = "TooManyWorkers"
	RCTooManyWorkersTrusted         RC = "TooManyWorkersTrusted"
	RCTooManySameIPs                RC = "TooManySameIPs"
	RCTimeoutIP                     RC = "TimeoutIP"
	RCTooManyNewIPs                 RC = "TooManyNewIPs"
	RCUnsafeIP                      RC = "UnsafeIP"
	RCInvalidJobID                  RC = "InvalidJobID"
	RCDuplicateGen                  RC = "DuplicateGen"
	RCAbortedGen                    RC = "AbortedGen"
	RCMaintenanceMode               RC = "MaintenanceMode"
	RCMissingPrompt                 RC = "MissingPrompt"
	RCCorruptPrompt                 RC = "CorruptPrompt"
	RCTooManyPrompts                RC = "TooManyPrompts"
	RCInvalidPromptSize             RC = "InvalidPromptSize"
	RCTooManyExtraSourceImages      RC = "TooManyExtraSourceImages."
	RCMoreThanMinExtraSourceImage   RC = "MoreThanMinExtraSourceImage."
	RCInvalidExtraSourceImages      RC = "InvalidExtraSourceImages."
	RCInvalidExtraTexts             RC = "InvalidExtraTexts."
	RCMissingExtraTexts             RC = "MissingExtraTexts."
	RCInvalidRemix                  RC = "InvalidRemix"
	RCSourceMaskUnnecessary         RC = "SourceMaskUnnecessary"
	RCControlNetUnsupported         RC = "ControlNetUnsupported"
	RCControlNetSourceMissing       RC = "ControlNetSourceMissing"
	RCControlNetInpaintingMismatch  RC = "ControlNetInpaintingMismatch"
	RCControlNetMismatch            RC = "ControlNetMismatch"
	RCControlNetMismatchQR          RC = "ControlNetMismatch."
	RCControlNetInvalidPayload      RC = "ControlNetInvalidPayload"
	RCInvalidTransparencyImg2Img    RC = "InvalidTransparencyImg2Img"
	RCInvalidTransparencyCN         RC = "InvalidTransparencyCN"
	RCInvalidTransparencyModel      RC = "InvalidTransparencyModel"
	RCSourceImageRequiredForModel   RC = "SourceImageRequiredForModel"
	RCUnexpectedModelName           RC = "UnexpectedModelName"
	RCBetaAnonForbidden             RC = "BetaAnonForbidden"
	RCBetaComparisonFault           RC = "BetaComparisonFault"
	RCHiResMismatch                 RC = "HiResMismatch"
	RCTooManyLoras                  RC = "TooManyLoras"
	RCBadLoraVersion                RC = "BadLoraVersion"
	RCTooManyTIs                    RC = "TooManyTIs"
	RCTooManyUpscalers              RC = "TooManyUpscalers"
	RCBadCFGDecimals                RC = "BadCFGDecimals"
	RCBadCFGNumber                  RC = "BadCFGNumber"
	RCSpecialMissingUsername        RC = "SpecialMissingUsername"
	RCSpecialMissingPayload         RC = "SpecialMissingPayload"
	RCTokenOverflow                 RC = "TokenOverflow"
	RCMissingFullSamplerOrder       RC = "MissingFullSamplerOrder"
	RCTooManyStopSequences          RC = "TooManyStopSequences"
	RCExcessiveStopSequence         RC = "ExcessiveStopSequence"
	RCImageValidationFailed         RC = "ImageValidationFailed"
	RCSourceImageResolutionExceeded RC = "SourceImageResolutionExceeded"
	RCSourceImageSizeExceeded       RC = "SourceImageSizeExceeded"
	RCSourceImageUrlInvalid         RC = "SourceImageUrlInvalid"
	RCSourceImageUnreadable         RC = "SourceImageUnreadable"
	RCInpaintingMissingMask         RC = "InpaintingMissingMask"
	RCRequestNotFound               RC = "RequestNotFound"
	RCAestheticsNotCompleted        RC = "AestheticsNotCompleted"
	RCAestheticsNotPublic           RC = "AestheticsNotPublic"
	RCProcGenNotFound               RC = "ProcGenNotFound"
	RCAestheticsDuplicate           RC = "AestheticsDuplicate"
	RCAestheticsMissing             RC = "AestheticsMissing"
	RCAestheticsSolo                RC = "AestheticsSolo"
	RCAestheticsAlreadyExist        RC = "AestheticsAlreadyExist"
	RCAestheticsServerRejected      RC = "AestheticsServerRejected"
	RCAestheticsServerError         RC = "AestheticsServerError"
	RCAestheticsServerDown          RC = "AestheticsServerDown"
	RCAestheticsServerTimeout       RC = "AestheticsServerTimeout"
	RCInvalidAestheticAttempt       RC = "InvalidAestheticAttempt"
)
