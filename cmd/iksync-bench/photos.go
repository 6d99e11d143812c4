package main

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// makePhotos draws the sample pictures below dir: landscapes by computation,
// small, the same ones each time, and free for any use.
func makePhotos(dir string) error {
	sets := []struct {
		folder string
		count  int
		ext    string
	}{
		{"2025/alps", 8, ".jpg"},
		{"2025/coast at dusk", 7, ".jpg"},
		{"2026/dunes", 6, ".jpg"},
		{"icons", 3, ".png"},
	}
	seed := uint64(0)
	for _, set := range sets {
		if err := os.MkdirAll(filepath.Join(dir, set.folder), 0o755); err != nil {
			return err
		}
		for i := range set.count {
			seed++
			name := filepath.Join(dir, set.folder, fmt.Sprintf("%s %02d%s", filepath.Base(set.folder), i+1, set.ext))
			if err := writePicture(name, landscape(seed, 480, 320)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writePicture(name string, img image.Image) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if filepath.Ext(name) == ".png" {
		small := image.NewRGBA(image.Rect(0, 0, 120, 80))
		for y := range 80 {
			for x := range 120 {
				small.Set(x, y, img.At(x*4, y*4))
			}
		}
		return png.Encode(f, small)
	}
	return jpeg.Encode(f, img, &jpeg.Options{Quality: 70})
}

// landscape draws a sky with a sun and ranges of hills that fade with distance.
func landscape(seed uint64, w, h int) image.Image {
	r := rand.New(rand.NewPCG(seed, 42))
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	hue := r.Float64()
	top, horizon := tint(hue, 0.55, 0.35), tint(hue+0.08+0.2*r.Float64(), 0.6, 0.9)
	sunX, sunY, sunR := (0.2+0.6*r.Float64())*float64(w), (0.25+0.3*r.Float64())*float64(h), 14+18*r.Float64()
	for y := range h {
		for x := range w {
			c := mix(top, horizon, math.Pow(float64(y)/float64(h), 0.8))
			d := math.Hypot(float64(x)-sunX, float64(y)-sunY)
			c = mix(c, [3]float64{1, 0.95, 0.8}, math.Max(0, 1-d/sunR)*0.4+math.Exp(-d/90)*0.5)
			if d < sunR {
				c = [3]float64{1, 0.97, 0.86}
			}
			img.Set(x, y, pixel(c))
		}
	}
	const ranges = 5
	for k := range ranges {
		near := float64(k+1) / ranges
		base := float64(h) * (0.5 + 0.4*near*near)
		var waves [6][3]float64
		for i := range waves {
			waves[i] = [3]float64{(10 + 30*r.Float64()) / float64(i+1) * (1.2 - near*0.5), float64(i+1) * (0.6 + r.Float64()) * 2 * math.Pi / float64(w), 2 * math.Pi * r.Float64()}
		}
		c := mix(horizon, tint(hue+0.45, 0.5, 0.12), near*0.9)
		for x := range w {
			ridge := base
			for _, v := range waves {
				ridge -= v[0] * math.Sin(float64(x)*v[1]+v[2])
			}
			for y := max(0, int(ridge)); y < h; y++ {
				shade := 1 - 0.25*math.Min(1, (float64(y)-ridge)/80) + 0.03*(r.Float64()-0.5)
				img.Set(x, y, pixel([3]float64{c[0] * shade, c[1] * shade, c[2] * shade}))
			}
		}
	}
	return img
}

// tint makes a colour of hue, saturation and value, each from 0 to 1.
func tint(h, s, v float64) [3]float64 {
	var c [3]float64
	for i := range c {
		k := math.Mod(5-2*float64(i)+6*h, 6)
		c[i] = v - v*s*math.Max(0, math.Min(math.Min(k, 4-k), 1))
	}
	return c
}

func mix(a, b [3]float64, t float64) [3]float64 {
	t = math.Max(0, math.Min(1, t))
	for i := range a {
		a[i] += (b[i] - a[i]) * t
	}
	return a
}

func pixel(c [3]float64) color.RGBA {
	to := func(v float64) uint8 { return uint8(math.Max(0, math.Min(255, v*255))) }
	return color.RGBA{to(c[0]), to(c[1]), to(c[2]), 255}
}
