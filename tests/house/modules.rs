//! The modules of one crate: which file is which, and which file a path leads to.

use crate::source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The way from a crate's root to a module, e.g. `["lifecycle", "update"]`.
pub(crate) type ModulePath = Vec<String>;

#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// The crate's name in paths, e.g. `baseos_interfaces`.
    pub(crate) name: String,
    sources: BTreeMap<ModulePath, Source>,
}

/// One file uses another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: PathBuf,
    pub(crate) line: usize,
    pub(crate) to: PathBuf,
}

impl Modules {
    /// Reads a crate from its root file on; files for tests alone are left out.
    pub(crate) fn read(root: &Path, name: &str, root_file: &Path) -> Self {
        let mut modules = Self {
            name: name.to_owned(),
            sources: BTreeMap::new(),
        };
        modules.add(root, Vec::new(), root_file);
        modules
    }

    fn add(&mut self, root: &Path, path: ModulePath, file: &Path) {
        let source = Source::read(root, file);
        for declared in source.modules.iter().filter(|declared| !declared.test_only) {
            let child = child_file(root, file, &declared.name)
                .unwrap_or_else(|| panic!("{}: no file for `mod {};`", file.display(), declared.name));
            self.add(
                root,
                [&path[..], std::slice::from_ref(&declared.name)].concat(),
                &child,
            );
        }
        self.sources.insert(path, source);
    }

    /// Made in a test from texts, without files.
    pub(crate) fn of(name: &str, texts: &[(&str, &str)]) -> Self {
        let sources = texts.iter().map(|(file, text)| {
            let module: ModulePath = file
                .trim_start_matches("src/")
                .trim_end_matches(".rs")
                .split('/')
                .filter(|part| !["lib", "main", "mod"].contains(part))
                .map(str::to_owned)
                .collect();
            (module, Source::parse(Path::new(file), text))
        });
        Self {
            name: name.to_owned(),
            sources: sources.collect(),
        }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// Every use of one file by another, each pair at its first line.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        let mut seen = BTreeSet::new();
        let mut arrows = Vec::new();
        for (module, source) in &self.sources {
            for used in &source.uses {
                let Some(to) = self.target(module, &used.path) else {
                    continue;
                };
                let hands_on = self.hands_on_its_own(module, source, &used.path, to);
                if *to != source.file && !hands_on && seen.insert((&source.file, to)) {
                    arrows.push(Arrow {
                        from: source.file.clone(),
                        line: used.line,
                        to: to.clone(),
                    });
                }
            }
        }
        arrows
    }

    /// A module that only hands on what stands in its own folder does not use it.
    fn hands_on_its_own(&self, module: &ModulePath, source: &Source, path: &[String], to: &Path) -> bool {
        let below = self.sources.iter().any(|(child, found)| {
            found.file == to && child.len() > module.len() && child.starts_with(module)
        });
        below && source.reexports.values().any(|handed| handed == path)
    }

    /// The file a path leads to; `None`: out of this crate, or not a path of modules.
    fn target(&self, module: &ModulePath, path: &[String]) -> Option<&PathBuf> {
        let first = path.first()?;
        let (start, rest): (ModulePath, &[String]) = match first.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            own if own == self.name => (Vec::new(), &path[1..]),
            "self" => (module.clone(), &path[1..]),
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                (module[..module.len().checked_sub(up)?].to_vec(), &path[up..])
            }
            _ if self.sources.contains_key(&child(module, first)) => (module.clone(), path),
            _ => return None,
        };
        self.walk(start, rest, 0)
    }

    fn walk(&self, mut module: ModulePath, rest: &[String], depth: usize) -> Option<&PathBuf> {
        for (at, part) in rest.iter().enumerate() {
            let next = child(&module, part);
            if self.sources.contains_key(&next) {
                module = next;
                continue;
            }
            let source = self.sources.get(&module)?;
            if let Some(handed) = source.reexports.get(part).filter(|_| depth < 8) {
                let path = [handed, &rest[at + 1..]].concat();
                return self
                    .resolve_reexport(&module, &path, depth + 1)
                    .or(Some(&source.file));
            }
            break;
        }
        self.sources.get(&module).map(|source| &source.file)
    }

    fn resolve_reexport(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<&PathBuf> {
        let first = path.first()?;
        match first.as_str() {
            "crate" => self.walk(Vec::new(), &path[1..], depth),
            "self" => self.walk(module.clone(), &path[1..], depth),
            "super" => {
                let parent = module[..module.len().checked_sub(1)?].to_vec();
                self.walk(parent, &path[1..], depth)
            }
            _ if self.sources.contains_key(&child(module, first)) => self.walk(module.clone(), path, depth),
            _ => None,
        }
    }
}

fn child(module: &[String], name: &str) -> ModulePath {
    [module, &[name.to_owned()]].concat()
}

fn child_file(root: &Path, file: &Path, name: &str) -> Option<PathBuf> {
    let folder = file.parent()?;
    let stem = file.file_stem()?.to_str()?;
    let folder = if ["mod", "lib", "main"].contains(&stem) {
        folder.to_owned()
    } else {
        folder.join(stem)
    };
    [
        folder.join(format!("{name}.rs")),
        folder.join(name).join("mod.rs"),
    ]
    .into_iter()
    .find(|path| root.join(path).is_file())
}
