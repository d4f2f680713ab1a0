package match

import "testing"

func TestParseAgent(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Agent
	}{
		{"AI Horde Worker reGen:13.0.0:https://x.org", Agent{Name: "AI Horde Worker reGen", Major: 13}},
		{"a:2:b", Agent{Name: "a", Major: 2}},
		{"a:2.1:b", Agent{Name: "a", Major: 2, Minor: 1}},
		{"a:4.1.7:b:c", Agent{Name: "a", Major: 4, Minor: 1, Patch: 7}},
		{"a:4.0.0-rc.1+build.5:b", Agent{Name: "a", Major: 4, Prerelease: true}},
		{"a:1:", Agent{Name: "a", Major: 1}},
		{"a:1", unknownAgent},
		{"a::b", unknownAgent},
		{"a:v1:b", unknownAgent},
		{"a:01:b", unknownAgent},
		{"a:1.2.3.4:b", unknownAgent},
		{"a:1.:b", unknownAgent},
		{"a:1-:b", unknownAgent},
		{"a:1-01:b", unknownAgent},
		{"a:99999999999999999999:b", unknownAgent},
		{"", unknownAgent},
	} {
		if got := ParseAgent(tt.in); got != tt.want {
			t.Errorf("ParseAgent(%q) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestValidated(t *testing.T) {
	for in, want := range map[string]bool{
		"KoboldCppEmbedWorker:2:x": true, "TabbyAPI:0.0.1-a:x": true, "AI Horde Worker~aphrodite~kai:1:x": true,
		"tabbyapi:1:x": false, "KoboldCppEmbedWorker:two:x": false,
	} {
		if got := ParseAgent(in).Validated(); got != want {
			t.Errorf("Validated(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		agent string
		cap   capabilities
		want  bool
	}{
		{"AI Horde Worker reGen:1:x", capImg2Img | capTiling | capHiresFix, true},
		{"AI Horde Worker reGen:1:x", capLoRA, false},
		{"AI Horde Worker reGen:2:x", capLoRA | capTextualInversion, true},
		{"AI Horde Worker reGen:3.0.0-rc1:x", capLoRAVersions, false},
		{"AI Horde Worker reGen:3.0.1-rc1:x", capLoRAVersions, true},
		{"AI Horde Worker reGen:8:x", capLayerDiffuse | capQRCode | capCascade2Pass | capExtraSourceImages, true},
		{"AI Horde Worker reGen:8:x", capFlux, false},
		{"AI Horde Worker reGen:12:x", capRestoreFormer, false},
		{"AI Horde Worker reGen:13:x", capRestoreFormer | capGFPGAN13 | capNomos2HQ, true},
		{"AI Horde Worker:2:x", capImg2Img, false},
		{"AI Horde Worker:24:x", capImg2Img | capInpainting | capR2 | capLoRA | capTextualInversion, true},
		{"AI Horde Worker:24:x", capTiling, false},
		{"SD-WebUI Stable Horde Worker Bridge:1:x", capInpainting | capR2, true},
		{"SD-WebUI Stable Horde Worker Bridge:3:x", capClipSkip, false},
		{"HordeAutoWebBridge:2:x", capPainting | capImg2Img | capTiling, true},
		{"HordeAutoWebBridge:2:x", capInpainting, false},
		{"mine:99:x", capR2, false},
	} {
		if got := ParseAgent(tt.agent).capabilities().has(tt.cap); got != tt.want {
			t.Errorf("%s has %b = %v, want %v", tt.agent, tt.cap, got, tt.want)
		}
	}
}

func TestSamplers(t *testing.T) {
	for _, tt := range []struct {
		agent         string
		sampler       string
		karras, plain bool
	}{
		{"AI Horde Worker reGen:2:x", "k_euler", true, true},
		{"AI Horde Worker reGen:2:x", "DDIM", true, true},
		{"AI Horde Worker reGen:2:x", "lcm", false, false},
		{"AI Horde Worker reGen:3:x", "lcm", true, true},
		{"AI Horde Worker reGen:1:x", "k_euler", false, false},
		{"AI Horde Worker:11:x", "k_dpmpp_sde", false, false},
		{"AI Horde Worker:12:x", "k_dpmpp_sde", true, true},
		{"AI Horde Worker:17:x", "DDIM", false, true},
		{"AI Horde Worker:16:x", "DDIM", false, false},
		{"SD-WebUI Stable Horde Worker Bridge:1:x", "dpmsolver", false, false},
		{"SD-WebUI Stable Horde Worker Bridge:1:x", "k_dpmpp_sde", true, true},
		{"SD-WebUI Stable Horde Worker Bridge:1:x", "DDIM", false, true},
		{"HordeAutoWebBridge:1:x", "k_lms", true, true},
		{"HordeAutoWebBridge:1:x", "k_euler", false, true},
		{"mine:0.1:x", "DDIM", false, true},
		{"mine:0.1:x", "lcm", false, false},
		{"no agent at all", "k_heun", true, true},
	} {
		karras, plain := ParseAgent(tt.agent).samplers()
		bit := samplerNames[tt.sampler]
		if got := [2]bool{karras&bit != 0, plain&bit != 0}; got != [2]bool{tt.karras, tt.plain} {
			t.Errorf("%s with %s: karras, plain = %v, want [%v %v]", tt.agent, tt.sampler, got, tt.karras, tt.plain)
		}
	}
}
