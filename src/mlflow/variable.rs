//! Variables as MLflow reads them.
//!
//! Pure: their values come in.

/// A variable whose value MLflow would refuse too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value:?}, not {wanted}")]
pub struct VariableError {
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub wanted: &'static str,
}

/// Reads a boolean as MLflow does: `true`, `false`, `1`, `0` in any case.
///
/// # Errors
/// [`VariableError`] for anything else.
pub fn truth(variable: &'static str, value: Option<String>) -> Result<Option<bool>, VariableError> {
    let Some(text) = value else {
        return Ok(None);
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        _ => Err(VariableError {
            variable,
            value: text,
            wanted: "true or false",
        }),
    }
}
