//! The map of the specifications names tests that exist.

use std::fs;
use std::path::PathBuf;

#[test]
fn every_test_named_in_the_map_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("src/spec.rs")).unwrap();
    let mut missing = Vec::new();
    let mut seen = 0;
    for row in map.lines().filter(|line| line.starts_with("//! |") && !line.contains("---")) {
        let cell = row.trim_end_matches('|').trim().rsplit('|').next().unwrap().trim();
        for name in cell.split(',').map(str::trim).filter(|name| name.starts_with('`')) {
            let name = name.trim_matches('`');
            seen += 1;
            let exists = if let Some((module, test)) = name.split_once("::tests") {
                // Beside the code: in a module `tests` of the file, in a file of that name, or in one of a folder of that name.
                let path = root.join("src").join(module.replace("::", "/"));
                let test = test.trim_start_matches("::");
                let (part, test) = match test.split_once("::") {
                    None if path.join("tests").join(test).with_extension("rs").is_file() => (test, ""),
                    None => ("", test),
                    Some(names) => names,
                };
                let files = match part {
                    "" => vec![path.with_extension("rs"), path.join("mod.rs"), path.join("tests.rs")],
                    part => vec![
                        path.with_extension("rs"),
                        path.join("mod.rs"),
                        path.join("tests").join(part).with_extension("rs"),
                    ],
                };
                let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
                text.contains("mod tests") && (test.is_empty() || text.contains(&format!("fn {test}(")))
            } else {
                let (module, test) = name.split_once("::").unwrap_or((name, ""));
                let folder = root.join("tests/it").join(module);
                let files = [folder.with_extension("rs"), folder.join("mod.rs")];
                let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
                !text.is_empty() && (test.is_empty() || text.contains(&format!("fn {test}(")))
            };
            if !exists {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(seen > 40, "the rows were found");
    assert!(missing.is_empty(), "named in src/spec.rs, but not there: {missing:?}");
}
