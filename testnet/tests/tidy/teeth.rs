use std::collections::BTreeSet;

use syn::visit::Visit;

use crate::sources::{Source, all};

/// Macros and methods by which a test can fail.
const TEETH: [&str; 13] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "prop_assert",
    "prop_assert_eq",
    "panic",
    "unwrap",
    "unwrap_err",
    "expect",
    "expect_err",
    "unreachable",
    "matches_pinned",
    "bail",
];

#[test]
fn every_test_can_fail() {
    let sources = all();
    let toothless: Vec<String> = toothless(&sources);
    assert!(toothless.is_empty(), "these tests assert nothing: {toothless:#?}");
}

#[test]
fn tests_without_assertion_are_found() {
    let source = |text: &str| Source {
        path: "x.rs".to_owned(),
        syntax: syn::parse_file(text).expect("it is Rust"),
        text: text.to_owned(),
    };
    let file = "fn helper() { inner() } fn inner() { assert!(true) }
        #[test] fn good() { helper(); } #[test] fn bad() { let _ = 1; other(); }";
    assert_eq!(toothless(&[source(file)]), ["x.rs bad"]);
}

/// Tests from which no assertion can be reached by the names of what they call.
fn toothless(sources: &[Source]) -> Vec<String> {
    let mut functions = Vec::new();
    for source in sources {
        let mut collector = Collector { path: &source.path, functions: &mut functions };
        collector.visit_file(&source.syntax);
    }
    let mut sharp: BTreeSet<String> = TEETH.iter().map(|name| (*name).to_owned()).collect();
    loop {
        let before = sharp.len();
        for function in &functions {
            if function.calls.iter().any(|call| sharp.contains(call)) {
                sharp.insert(function.name.clone());
            }
        }
        if sharp.len() == before {
            break;
        }
    }
    let blunt = |function: &&Function| !function.calls.iter().any(|call| sharp.contains(call));
    let tests = functions.iter().filter(|function| function.is_test);
    tests.filter(blunt).map(|function| format!("{} {}", function.path, function.name)).collect()
}

struct Function {
    path: String,
    name: String,
    is_test: bool,
    calls: BTreeSet<String>,
}

struct Collector<'a> {
    path: &'a str,
    functions: &'a mut Vec<Function>,
}

impl Collector<'_> {
    fn add(&mut self, signature: &syn::Signature, attributes: &[syn::Attribute], block: &syn::Block) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        };
        let mut calls = Calls::default();
        calls.visit_block(block);
        self.functions.push(Function {
            path: self.path.to_owned(),
            name: signature.ident.to_string(),
            is_test: attributes.iter().any(is_test),
            calls: calls.0,
        });
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.attrs, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.attrs, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    /// Tests inside `proptest!` are not Rust's syntax; the macro makes them, and their assertions
    /// are `prop_assert`s, whose absence the compiler does not see either.
    fn visit_item_macro(&mut self, _: &'ast syn::ItemMacro) {}
}

/// The names that a function calls or mentions.
#[derive(Default)]
struct Calls(BTreeSet<String>);

impl<'ast> Visit<'ast> for Calls {
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        if let Some(segment) = called.path.segments.last() {
            self.0.insert(segment.ident.to_string());
        }
        let tokens = called.tokens.to_string();
        let words = tokens.split(|c: char| !c.is_alphanumeric() && c != '_');
        self.0.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.0.insert(call.method.to_string());
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(segment) = path.segments.last() {
            self.0.insert(segment.ident.to_string());
        }
        syn::visit::visit_path(self, path);
    }
}
