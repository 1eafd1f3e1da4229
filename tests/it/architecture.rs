//! Data flows one way: every room of `src` imports only rooms below it, and no files import
//! each other in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms from the ground up: each with the rooms that it may import, all of which
/// stand before it, so that there are no circles. A file belongs to the room with the
/// longest path that it begins with.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("spelling", &[]),
    ("files", &[]),
    ("reload", &["files"]),
    ("config", &["domain", "spelling"]),
    ("policy/language", &["domain", "spelling"]),
    ("policy/engine", &["domain", "policy/language"]),
    ("policy/review", &["domain", "policy/engine", "policy/language", "spelling"]),
    ("policy/folder", &["domain", "files", "policy/engine", "policy/language", "policy/review"]),
    ("policy", &["policy/engine", "policy/folder", "policy/language", "policy/review"]),
    ("telemetry", &["config", "files"]),
    ("authn", &["config", "domain", "files", "reload"]),
    ("store", &["config", "files"]),
    ("audit", &["config", "domain", "files", "policy", "store"]),
    ("glacier", &["audit", "config", "domain", "files", "policy", "reload", "telemetry"]),
    ("metrics", &["audit", "glacier", "policy", "reload", "telemetry"]),
    (
        "gateway",
        &[
            "audit",
            "authn",
            "config",
            "domain",
            "glacier",
            "metrics",
            "policy",
            "reload",
            "store",
            "telemetry",
        ],
    ),
    ("inventory", &["config", "domain", "gateway", "glacier", "metrics", "policy", "store"]),
    (
        "jobs",
        &[
            "audit",
            "authn",
            "config",
            "domain",
            "gateway",
            "glacier",
            "inventory",
            "metrics",
            "policy",
            "store",
            "telemetry",
        ],
    ),
    (
        "lifecycle",
        &[
            "config",
            "domain",
            "files",
            "gateway",
            "glacier",
            "jobs",
            "policy",
            "reload",
            "store",
            "telemetry",
        ],
    ),
    ("tls", &["authn", "config", "files", "reload"]),
    ("http/peer", &["config"]),
    (
        "http/problem",
        &["audit", "authn", "domain", "gateway", "glacier", "jobs", "lifecycle", "policy"],
    ),
    ("http/parameters", &["domain", "gateway", "glacier", "http/problem"]),
    ("http/docs", &["config", "gateway"]),
    ("http/body", &["config", "gateway", "http/problem"]),
    ("http/head", &["config", "http/problem"]),
    ("http/limits", &["gateway"]),
    (
        "http/observe",
        &[
            "config",
            "domain",
            "gateway",
            "http/docs",
            "http/head",
            "http/limits",
            "http/peer",
            "http/problem",
            "metrics",
            "telemetry",
        ],
    ),
    (
        "http/caller",
        &["authn", "domain", "gateway", "http/observe", "http/peer", "http/problem", "policy"],
    ),
    ("http/methods", &["http/problem"]),
    ("http/connections", &[]),
    ("http/management", &["audit", "gateway", "http/connections", "metrics", "telemetry"]),
    (
        "http/rest",
        &[
            "audit",
            "config",
            "domain",
            "gateway",
            "glacier",
            "inventory",
            "jobs",
            "lifecycle",
            "policy",
            "http/body",
            "http/caller",
            "http/parameters",
            "http/problem",
        ],
    ),
    (
        "http/aws",
        &[
            "authn",
            "domain",
            "gateway",
            "glacier",
            "http/body",
            "http/caller",
            "http/observe",
            "http/parameters",
            "http/peer",
            "http/problem",
        ],
    ),
    (
        "http",
        &[
            "gateway",
            "jobs",
            "lifecycle",
            "http/aws",
            "http/body",
            "http/docs",
            "http/methods",
            "http/observe",
            "http/rest",
        ],
    ),
    (
        "app",
        &[
            "audit",
            "authn",
            "config",
            "gateway",
            "glacier",
            "http",
            "http/connections",
            "http/management",
            "inventory",
            "jobs",
            "lifecycle",
            "policy",
            "reload",
            "telemetry",
            "tls",
        ],
    ),
    // What starts the program, and what stands in for AWS, may import everything below.
    ("", &[]),
];

/// Crates that only the rooms named here may speak to.
const CRATES: &[(&str, &[&str])] = &[
    ("actix_web", &["app", "cli", "dev", "http", "simulator", "tls"]),
    ("aws_sdk_glacier", &["glacier"]),
    ("aws_sdk_sts", &["glacier"]),
    ("opentelemetry", &["telemetry"]),
    ("reqwest", &["authn", "cli", "telemetry"]),
    ("rusqlite", &["store"]),
    ("sqlx", &["audit", "inventory", "jobs", "lifecycle", "store"]),
];

#[test]
fn every_room_imports_only_what_it_may() {
    let mut known = BTreeSet::new();
    for (room, imports) in ROOMS {
        for import in *imports {
            assert!(known.contains(import), "{room} imports {import}, which stands above it");
        }
        known.insert(room);
    }
    for (path, text) in sources() {
        let room = room_of(&path);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room && !room.is_empty())
        else {
            continue;
        };
        for import in imports(&path, &text) {
            let imported = room_of(&import);
            assert!(
                imported == room || imported.is_empty() || allowed.contains(&imported),
                "src/{path}.rs, of {room}, imports {import}, of {imported}"
            );
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let modules = sources.iter().map(|(path, text)| (module(path), text.as_str()));
    let mut needs = needs(&modules.collect());
    // Whatever needs no other, or is needed by no other, is in no circle.
    loop {
        let before = needs.len();
        let needed: BTreeSet<String> = needs.values().flatten().cloned().collect();
        needs.retain(|file, _| needed.contains(file));
        let left: BTreeSet<String> = needs.keys().cloned().collect();
        needs.values_mut().for_each(|of| of.retain(|file| left.contains(file)));
        needs.retain(|_, of| !of.is_empty());
        if needs.len() == before {
            break;
        }
    }
    assert!(needs.is_empty(), "files in circles, and what they import of each other: {needs:#?}");
}

#[test]
fn a_circle_is_seen_through_what_a_module_passes_on() {
    let of = |inner: &str| {
        let outer = "mod inner;\nmod shown;\npub use self::shown::Shown;\nstruct Own;";
        let modules = [("a", outer), ("a/shown", "struct Shown;"), ("a/inner", inner)];
        needs(&modules.into_iter().collect())["a/inner"].clone()
    };
    assert_eq!(of("use super::Shown;"), BTreeSet::from(["a/shown".to_owned()]));
    assert_eq!(of("use super::Own as Other;"), BTreeSet::from(["a".to_owned()]));
    assert_eq!(of("fn f() -> crate::a::Shown {}"), BTreeSet::from(["a/shown".to_owned()]));
    assert_eq!(of("fn f() -> super::Own {}"), BTreeSet::from(["a".to_owned()]));
    let within = [("a", "mod inner; fn f() { inner::g() }"), ("a/inner", "")];
    let found = needs(&within.into_iter().collect());
    assert_eq!(found["a"], BTreeSet::from(["a/inner".to_owned()]));
}

#[test]
fn the_core_knows_no_http_and_only_the_client_knows_the_sdk() {
    for (path, text) in sources() {
        for (name, rooms) in CRATES {
            let may = rooms.iter().any(|room| path.split('/').next() == Some(room));
            assert!(may || !text.contains(name), "src/{path}.rs mentions {name}");
        }
    }
}

#[test]
fn only_the_upstream_client_speaks_to_glacier_and_only_the_five_operations() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("glacier/")) {
        for operation in [
            "initiate_multipart_upload",
            "upload_multipart_part",
            "complete_multipart_upload",
            "upload_archive",
            "delete_archive",
            "create_vault",
            "delete_vault",
            "initiate_job",
        ] {
            assert!(!text.contains(operation), "{path}: {operation} is not ours to perform");
        }
    }
}

#[test]
fn only_the_recovery_makes_a_permit_of_a_recorded_decision() {
    let callers: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.contains("::recorded(") || text.contains("fn recorded("))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(callers, ["gateway/recovery", "policy/engine/permit"]);
}

/// The room that a path such as `http/rest/uploads` belongs to.
fn room_of(path: &str) -> &'static str {
    let within = |room: &&str| {
        path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let rooms = ROOMS.iter().map(|(name, _)| *name).filter(within);
    rooms.max_by_key(|room| room.len()).unwrap_or("")
}

/// The files of `src` by their paths without `.rs`, and their texts without comments and tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().with_extension("");
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\nmod tests {").next().unwrap_or_default().lines();
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        let text = code.collect::<Vec<_>>().join("\n");
        (name.to_str().unwrap().to_owned(), text)
    };
    files(&root).into_iter().map(source).collect()
}

/// All files of a folder and of those within.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The module that the file at `path` holds.
fn module(path: &str) -> &str {
    path.strip_suffix("/mod").unwrap_or(path)
}

/// The paths below `src` that the `use` declarations of the file at `path` name, and
/// whatever else it names by `crate::`.
fn imports(path: &str, text: &str) -> BTreeSet<String> {
    let module = module(path);
    let uses = uses(module, text).into_iter().map(|found| found.path);
    uses.chain(mentions(module, &split(text).1)).collect()
}

/// One name that a `use` declaration brings into a module.
struct Use {
    name: String,
    path: String,
    /// Whether the module passes the name on and need not need it itself.
    passed_on: bool,
}

fn uses(module: &str, text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for declaration in split(text).0 {
        let (before, tree) = declaration.split_once("use ").unwrap();
        for import in expand(tree.trim_end_matches(';')) {
            let (import, alias) = import.split_once(" as ").unwrap_or((&import, ""));
            if let Some(path) = resolve(module, import) {
                let last = path.rsplit('/').next().unwrap_or_default();
                let name = if alias.is_empty() { last } else { alias }.to_owned();
                found.push(Use { name, path, passed_on: before.starts_with("pub") });
            }
        }
    }
    found
}

/// A text's `use` declarations, each on a line, and the rest of it.
fn split(text: &str) -> (Vec<String>, String) {
    let (mut declarations, mut rest) = (Vec::new(), String::new());
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let starts = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "];
        if !starts.iter().any(|start| line.starts_with(start)) {
            rest.extend([line, "\n"]);
            continue;
        }
        let mut declaration = line.to_owned();
        while !declaration.ends_with(';') {
            let Some(line) = lines.next() else { break };
            declaration.extend([" ", line]);
        }
        declarations.push(declaration);
    }
    (declarations, rest)
}

/// What a file names by `crate::`, `super::` or `self::`, and of its own modules.
fn mentions(module: &str, text: &str) -> BTreeSet<String> {
    let children = text.split("mod ").skip(1).filter_map(|rest| rest.split_once(';'));
    let children = children.map(|(name, _)| name).filter(|name| is_name(name));
    let mut found = BTreeSet::new();
    for start in ["crate", "super", "self"].into_iter().chain(children) {
        let separator = format!("{start}::");
        for (at, _) in text.match_indices(&separator) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c == ':' || c == '_' || c.is_alphanumeric()) {
                continue;
            }
            let path = text[at..].split(|c: char| c != ':' && c != '_' && !c.is_alphanumeric());
            let path = path.clone().next().unwrap_or_default().trim_end_matches(':');
            let own = !["crate", "super", "self"].contains(&start);
            let path = if own { format!("self::{path}") } else { path.to_owned() };
            found.extend(resolve(module, &path));
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c == '_' || c.is_alphanumeric())
}

/// The files that each file needs. If a module only passes a name on, whoever takes it
/// from there needs the file that has it.
fn needs(modules: &BTreeMap<&str, &str>) -> BTreeMap<String, BTreeSet<String>> {
    let uses: BTreeMap<&str, Vec<Use>> =
        modules.iter().map(|(module, text)| (*module, uses(module, text))).collect();
    let file = |path: &str| {
        let mut path = path.to_owned();
        // A name is passed on a few times at most.
        for _ in 0..8 {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let mut prefixes = ends.map(|end| &path[..end]);
            let module = prefixes.rfind(|prefix| modules.contains_key(prefix))?.to_owned();
            let rest = path[module.len()..].trim_start_matches('/');
            let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
            match uses[module.as_str()].iter().find(|found| found.name == name) {
                Some(found) => path = format!("{}/{rest}", found.path),
                None => return Some(module),
            }
        }
        None
    };
    let of = |(module, text): (&&str, &&str)| {
        let own = uses[module].iter().filter(|found| !found.passed_on);
        let paths = own.map(|found| found.path.clone()).chain(mentions(module, &split(text).1));
        let files = paths.filter_map(|path| file(&path)).filter(|file| file != module);
        (module.to_string(), files.collect())
    };
    modules.iter().map(of).collect()
}

/// `a::{b, c::{d}}` as `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let Some((inner, _)) = rest.rsplit_once('}') else { return Vec::new() };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    let parts = parts.flat_map(expand);
    parts.map(|part| format!("{}{part}", head.trim())).collect()
}

/// A path of Rust's as one below `src`; `None` for other crates.
fn resolve(module: &str, import: &str) -> Option<String> {
    let mut at: Vec<&str> = module.split('/').collect();
    let mut segments = import.split("::").peekable();
    match segments.next()? {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            at.pop();
        }
        _ => return None,
    }
    while segments.next_if_eq(&"super").is_some() {
        at.pop();
    }
    at.extend(segments.map(|segment| segment.split(' ').next().unwrap_or("")));
    Some(at.join("/"))
}
