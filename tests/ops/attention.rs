crate::cases!("attention");
