//! Files of capture rules and of their tests; what is sound is run.
#![no_main]

use agent::rules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = rules::parse(text);
    let Ok(file) = rules::parse_cases(text) else { return };
    let Ok(own) = rules::compile(&file.rules) else { return };
    for case in file.tests.iter().take(2) {
        let _ = rules::run_case(case, &own);
    }
});
