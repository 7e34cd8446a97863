// Command gotemplate renders templates with Go's own text/template: JSON cases on standard
// input, results on standard output.
package main

import (
	"encoding/json"
	"log"
	"os"
	"strings"
	"text/template"
)

type testCase struct {
	Text string
	Data any
}

type result struct {
	Output     string `json:"output"`
	ParseError string `json:"parse_error"`
	RunError   string `json:"run_error"`
}

// typed turns numbers into ints or floats by how they are written, and objects of texts into
// maps of texts.
func typed(value any) any {
	switch value := value.(type) {
	case json.Number:
		if strings.ContainsAny(value.String(), ".eE") {
			number, _ := value.Float64()
			return number
		}
		number, _ := value.Int64()
		return int(number)
	case []any:
		for index := range value {
			value[index] = typed(value[index])
		}
		return value
	case map[string]any:
		texts := map[string]string{}
		for key := range value {
			value[key] = typed(value[key])
			if text, ok := value[key].(string); ok {
				texts[key] = text
			}
		}
		if len(texts) == len(value) {
			return texts
		}
		return value
	}
	return value
}

func run(c testCase) (r result) {
	t, err := template.New("t").Option("missingkey=zero").Parse(c.Text)
	if err != nil {
		r.ParseError = err.Error()
		return r
	}
	var out strings.Builder
	if err := t.Execute(&out, typed(c.Data)); err != nil {
		r.RunError = err.Error()
		return r
	}
	r.Output = out.String()
	return r
}

func main() {
	decoder := json.NewDecoder(os.Stdin)
	decoder.UseNumber()
	var cases []testCase
	if err := decoder.Decode(&cases); err != nil {
		log.Fatal(err)
	}
	results := make([]result, 0, len(cases))
	for _, c := range cases {
		results = append(results, run(c))
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		log.Fatal(err)
	}
}
