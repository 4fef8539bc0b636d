//! The completions of shells and the manual pages, made from the definition of the command line.
//!
//! Pure: whoever asks for them writes them somewhere.

use super::Cli;

impl Cli {
    /// Returns the completions for a shell, made from these definitions.
    pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
        let mut text = Vec::new();
        clap_complete::generate(
            shell,
            &mut <Self as clap::CommandFactory>::command(),
            "tracemark",
            &mut text,
        );
        text
    }

    /// Returns the manual page of every command, by its file name.
    ///
    /// # Errors
    /// When a page cannot be written into memory.
    pub fn man_pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let mut root = <Self as clap::CommandFactory>::command();
        root.build();
        let mut pages = Vec::new();
        add_pages(&root, "tracemark", &mut pages)?;
        Ok(pages)
    }
}

fn add_pages(
    command: &clap::Command,
    name: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    for one in shown.filter(|one| one.get_name() != "help") {
        add_pages(one, &format!("{name}-{}", one.get_name()), pages)?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .source(concat!("tracemark ", env!("CARGO_PKG_VERSION")))
        .manual("tracemark")
        .render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    Ok(())
}
