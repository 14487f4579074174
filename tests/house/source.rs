//! One source file, read: what it uses, which modules it declares and what it hands on.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// A path that the file uses, e.g. `crate::lifecycle::Event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// A module declared with `mod name;`.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// Compiled for tests alone.
    pub(crate) test_only: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    /// Outside tests.
    pub(crate) uses: Vec<Use>,
    /// Names that are handed on by `pub use`, with the path they come from.
    pub(crate) reexports: BTreeMap<String, Vec<String>>,
    pub(crate) modules: Vec<Declared>,
    /// Lines with `async` or `.await`, outside tests.
    pub(crate) asynchronous: Vec<usize>,
}

impl Source {
    /// Reads a file.
    pub(crate) fn read(root: &Path, file: &Path) -> Self {
        let text = std::fs::read_to_string(root.join(file))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self::parse(file, &text)
    }

    pub(crate) fn parse(file: &Path, text: &str) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let source = Self {
            file: file.to_owned(),
            ..Self::default()
        };
        let mut reader = Reader { source };
        reader.visit_file(&syntax);
        reader.source
    }
}

struct Reader {
    source: Source,
}

impl Reader {
    fn note(&mut self, path: Vec<String>, line: usize) {
        self.source.uses.push(Use { path, line });
    }

    /// Paths inside a macro's arguments, which are tokens, not syntax.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.finish(&mut path, line);
                    }
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.finish(&mut path, line);
                    colons = 0;
                    self.scan(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.finish(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.finish(&mut path, line);
    }

    fn finish(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.note(path, line);
        }
    }

    fn wait(&mut self, span: proc_macro2::Span) {
        self.source.asynchronous.push(span.start().line);
    }
}

/// All paths of a `use`, with the name each is known by.
fn leaves(tree: &syn::UseTree, prefix: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let with = |name: String| [prefix, &[name]].concat();
    match tree {
        syn::UseTree::Path(path) => leaves(&path.tree, &with(path.ident.to_string()), found),
        syn::UseTree::Name(name) if name.ident == "self" => {
            let known_by = prefix.last().cloned().unwrap_or_default();
            found.push((known_by, prefix.to_vec()));
        }
        syn::UseTree::Name(name) => found.push((name.ident.to_string(), with(name.ident.to_string()))),
        syn::UseTree::Rename(rename) if rename.ident == "self" => {
            found.push((rename.rename.to_string(), prefix.to_vec()));
        }
        syn::UseTree::Rename(rename) => {
            found.push((rename.rename.to_string(), with(rename.ident.to_string())));
        }
        syn::UseTree::Glob(_) => found.push(("*".to_owned(), prefix.to_vec())),
        syn::UseTree::Group(group) => group.items.iter().for_each(|item| leaves(item, prefix, found)),
    }
}

/// Whether an item is compiled for tests alone.
fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .meta
                    .require_list()
                    .is_ok_and(|list| list.tokens.to_string() == "test"))
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let test_only = is_test_only(attributes(item));
        if let syn::Item::Mod(module) = item
            && module.content.is_none()
        {
            self.source.modules.push(Declared {
                name: module.ident.to_string(),
                test_only,
            });
        } else if !test_only {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let test_only = match item {
            syn::ImplItem::Fn(function) => is_test_only(&function.attrs),
            _ => false,
        };
        if !test_only {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &[], &mut found);
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        for (name, path) in found {
            if public {
                self.source.reexports.insert(name, path.clone());
            }
            self.note(path, item.span().start().line);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1 {
            self.note(segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(keyword) = &signature.asyncness {
            self.wait(keyword.span());
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.wait(block.span());
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, waiting: &'ast syn::ExprAwait) {
        self.wait(waiting.await_token.span());
        visit::visit_expr_await(self, waiting);
    }
}
