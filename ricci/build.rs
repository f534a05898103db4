//! Names the corosync client libraries to the linker. Their headers are not needed: the declarations are our own.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for library in ["cpg", "cfg", "cmap", "quorum", "votequorum"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}
