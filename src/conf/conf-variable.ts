/** The variable that configures the default runtime. */
export const CONF_VARIABLE = 'STOWAGE_CONF';
