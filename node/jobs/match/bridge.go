package match

import (
	"strconv"
	"strings"
)

// An Agent is a parsed bridge agent, "name:version:link" (spec/status.md section 8).
type Agent struct {
	Name       string
	Major      int
	Minor      int
	Patch      int
	Prerelease bool // sorts below the same version without one
}

// unknownAgent stands for every agent that cannot be read.
var unknownAgent = Agent{Name: "unknown"}

// ParseAgent reads a bridge agent. All three parts are needed and the version must be a
// semantic version, whose minor and patch may be missing; anything else is "unknown",
// version 0.
func ParseAgent(s string) Agent {
	parts := strings.SplitN(s, ":", 3)
	if len(parts) != 3 {
		return unknownAgent
	}
	a, ok := parseVersion(parts[1])
	if !ok {
		return unknownAgent
	}
	a.Name = parts[0]
	return a
}

// Validated tells whether the agent is a text backend whose results are trusted to be what
// they say, whatever its version.
func (a Agent) Validated() bool {
	switch a.Name {
	case "AI Horde Worker", "AI Horde Worker~aphrodite~oai", "AI Horde Worker~aphrodite~kai",
		"KoboldCppEmbedWorker", "TabbyAPI":
		return true
	}
	return false
}

// reaches tells whether the agent's version is at least major.0.0.
func (a Agent) reaches(major int) bool {
	if a.Major != major {
		return a.Major > major
	}
	return !a.Prerelease || a.Minor > 0 || a.Patch > 0
}

// parseVersion reads major[.minor[.patch]][-prerelease][+build].
func parseVersion(s string) (a Agent, ok bool) {
	s, build, hasBuild := strings.Cut(s, "+")
	if hasBuild && !identifiers(build, false) {
		return a, false
	}
	s, pre, hasPre := strings.Cut(s, "-")
	if hasPre && !identifiers(pre, true) {
		return a, false
	}
	a.Prerelease = hasPre
	numbers := strings.Split(s, ".")
	if len(numbers) > 3 {
		return a, false
	}
	for i, into := range []*int{&a.Major, &a.Minor, &a.Patch}[:len(numbers)] {
		if !digits(numbers[i]) || len(numbers[i]) > 1 && numbers[i][0] == '0' {
			return a, false
		}
		n, err := strconv.Atoi(numbers[i])
		if err != nil {
			return a, false
		}
		*into = n
	}
	return a, true
}

// identifiers checks dot-separated identifiers of a prerelease (whose numbers have no
// leading zero) or a build.
func identifiers(s string, prerelease bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || prerelease && digits(id) && len(id) > 1 && id[0] == '0' {
			return false
		}
		for _, c := range []byte(id) {
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
				return false
			}
		}
	}
	return true
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// capabilities is a set of what an image bridge can do.
type capabilities uint64

const (
	capImg2Img capabilities = 1 << iota
	capInpainting
	capPainting
	capKarras
	capPostProcessing
	capR2
	capR2Source
	capClipSkip
	capControlNet
	capReturnControlMap
	capImageIsControl
	capHiresFix
	capTiling
	capTextualInversion
	capLoRA
	capLoRAVersions
	capExtraSourceImages
	capCascade2Pass
	capQRCode
	capExtraTexts
	capWorkflow
	capLayerDiffuse
	capFlux
	capGFPGAN
	capRealESRGANx4
	capCodeFormers
	capStripBackground
	capRealESRGANx4Anime
	capNMKDSiax
	capAnimeSharp
	capRealESRGANx2
	capNomos8kSC
	capLSDIR
	capNomosWebPhoto
	capNomos2Dysample
	capNomos2HQ
	capModernSpanimation
	capGFPGAN13
	capRestoreFormer
)

// postProcessors are the capabilities that a request names in params.post_processing.
var postProcessors = map[string]capabilities{
	"GFPGAN":                      capGFPGAN,
	"RealESRGAN_x4plus":           capRealESRGANx4,
	"CodeFormers":                 capCodeFormers,
	"strip_background":            capStripBackground,
	"RealESRGAN_x4plus_anime_6B":  capRealESRGANx4Anime,
	"NMKD_Siax":                   capNMKDSiax,
	"4x_AnimeSharp":               capAnimeSharp,
	"RealESRGAN_x2plus":           capRealESRGANx2,
	"4xNomos8kSC":                 capNomos8kSC,
	"4xLSDIRplus":                 capLSDIR,
	"4xNomosWebPhoto_RealPLKSR":   capNomosWebPhoto,
	"4xNomos2_realplksr_dysample": capNomos2Dysample,
	"4xNomos2_hq_dat2":            capNomos2HQ,
	"2xModernSpanimationV1":       capModernSpanimation,
	"GFPGANv1.3":                  capGFPGAN13,
	"RestoreFormer":               capRestoreFormer,
}

// since is what a bridge can do from a major version on.
type since struct {
	major int
	adds  capabilities
}

// bridges lists the known image bridges (spec/status.md section 8).
var bridges = map[string][]since{
	"AI Horde Worker reGen": {
		{1, capImg2Img | capInpainting | capKarras | capPostProcessing | capGFPGAN | capRealESRGANx4 | capR2 |
			capCodeFormers | capClipSkip | capR2Source | capControlNet | capStripBackground | capReturnControlMap |
			capRealESRGANx4Anime | capNMKDSiax | capAnimeSharp | capImageIsControl | capRealESRGANx2 | capHiresFix | capTiling},
		{2, capTextualInversion | capLoRA},
		{3, capLoRAVersions},
		{5, capExtraSourceImages},
		{6, capCascade2Pass},
		{7, capQRCode | capExtraTexts | capWorkflow},
		{8, capLayerDiffuse},
		{9, capFlux},
		{13, capNomos8kSC | capLSDIR | capNomosWebPhoto | capNomos2Dysample | capNomos2HQ | capModernSpanimation |
			capGFPGAN13 | capRestoreFormer},
	},
	"AI Horde Worker": {
		{3, capImg2Img},
		{4, capInpainting},
		{6, capKarras},
		{7, capPostProcessing | capGFPGAN | capRealESRGANx4},
		{8, capR2},
		{9, capCodeFormers},
		{13, capHiresFix | capClipSkip},
		{14, capR2Source},
		{15, capControlNet},
		{18, capStripBackground | capReturnControlMap | capRealESRGANx4Anime},
		{19, capNMKDSiax | capAnimeSharp},
		{21, capRealESRGANx2},
		{22, capLoRA},
		{23, capImageIsControl},
		{24, capTextualInversion},
	},
	"SD-WebUI Stable Horde Worker Bridge": {
		{1, capInpainting | capKarras | capR2 | capCodeFormers},
		{2, capTiling},
		{3, capR2Source},
		{4, capClipSkip},
	},
	"HordeAutoWebBridge": {
		{1, capPainting | capImg2Img | capKarras},
		{2, capTiling},
	},
}

// capabilities returns all that the agent's bridge can do at its version.
func (a Agent) capabilities() capabilities {
	var all capabilities
	for _, step := range bridges[a.Name] {
		if a.reaches(step.major) {
			all |= step.adds
		}
	}
	return all
}

func (c capabilities) has(q capabilities) bool { return c&q == q }

// samplers is a set of sampler names.
type samplers uint32

const (
	kLMS samplers = 1 << iota
	kHeun
	kEuler
	kEulerA
	kDPM2
	kDPM2A
	kDPMFast
	kDPMAdaptive
	kDPMPP2SA
	kDPMPP2M
	dpmSolver
	kDPMPPSDE
	ddim
	lcm
	plms
)

var samplerNames = map[string]samplers{
	"k_lms": kLMS, "k_heun": kHeun, "k_euler": kEuler, "k_euler_a": kEulerA, "k_dpm_2": kDPM2,
	"k_dpm_2_a": kDPM2A, "k_dpm_fast": kDPMFast, "k_dpm_adaptive": kDPMAdaptive,
	"k_dpmpp_2s_a": kDPMPP2SA, "k_dpmpp_2m": kDPMPP2M, "dpmsolver": dpmSolver,
	"k_dpmpp_sde": kDPMPPSDE, "DDIM": ddim, "lcm": lcm, "plms": plms,
}

// classic are the samplers that worker bridges had from the beginning.
const classic = kLMS | kHeun | kEuler | kEulerA | kDPM2 | kDPM2A | kDPMFast | kDPMAdaptive | kDPMPP2SA | kDPMPP2M

// sampling is what a bridge can sample from a major version on: with karras, and what it
// can do only without.
type sampling struct {
	major         int
	karras, plain samplers
}

// samplings is spec/image.md section 5.3.3, second table.
var samplings = map[string][]sampling{
	"AI Horde Worker reGen": {
		{2, classic | dpmSolver | kDPMPPSDE | ddim, 0},
		{3, lcm, 0},
	},
	"AI Horde Worker": {
		{11, classic | dpmSolver, 0},
		{12, kDPMPPSDE, 0},
		{17, 0, ddim},
	},
	"SD-WebUI Stable Horde Worker Bridge": {
		{1, classic | kDPMPPSDE, ddim | plms},
	},
	"HordeAutoWebBridge": {
		{1, kLMS | kDPM2 | kDPM2A | kDPMPP2SA | kDPMPP2M | dpmSolver, kHeun | kEuler | kEulerA | kDPMFast | kDPMAdaptive},
	},
}

// samplers returns what the agent can sample with and without karras. A bridge that is not
// listed counts as "AI Horde Worker" 23.
func (a Agent) samplers() (karras, plain samplers) {
	steps, ok := samplings[a.Name]
	if !ok {
		a = Agent{Name: "AI Horde Worker", Major: 23}
		steps = samplings[a.Name]
	}
	for _, step := range steps {
		if a.reaches(step.major) {
			karras |= step.karras
			plain |= step.plain
		}
	}
	return karras, karras | plain
}
